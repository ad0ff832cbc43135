"""How a message leaves: to a webhook, and by e-mail. Addresses and passwords that are secret come from the environment
and are in no message, log or error."""

from __future__ import annotations

import logging
import os
import smtplib
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.message import EmailMessage

from autorisk_dagster.errors import InputError
from autorisk_dagster.night.alerts import Message
from autorisk_dagster.night.settings import AlertSettings, EmailSettings

WEBHOOK = "AUTORISK_ALERT_WEBHOOK"
SMTP_USER = "AUTORISK_SMTP_USER"
SMTP_PASSWORD = "AUTORISK_SMTP_PASSWORD"  # nosec B105
TIMEOUT_SEC = 10.0

Send = Callable[[Message], None]


def channels(settings: AlertSettings, environment: Mapping[str, str] = os.environ) -> dict[str, Send]:
    """What the operator configured, by name; each raises `ConnectionError` where the message was not taken."""
    found: dict[str, Send] = {}
    if environment.get(WEBHOOK):
        address = environment[WEBHOOK]
        found["webhook"] = lambda message: to_webhook(message, address)
    if settings.email is not None:
        email, user, password = settings.email, environment.get(SMTP_USER), environment.get(SMTP_PASSWORD)
        if user and password and email.security == "none" and email.host not in ("localhost", "127.0.0.1", "::1"):
            raise InputError(
                f"alerts.email.security is none: {SMTP_PASSWORD} would be sent to {email.host} in the clear. "
                "Set starttls or tls"
            )
        found["email"] = lambda message: by_email(message, email, user, password)
    return found


def to_webhook(message: Message, address: str) -> None:
    """POST the message as JSON: `text` (what chat services show), `subject`, `key`.

    Raises:
        ConnectionError: not reached, or not answered with 2xx; the address is not named.
    """
    import httpx

    payload = {"text": f"{message.subject}\n\n{message.text}", "subject": message.subject, "key": message.key}
    try:
        with _quiet("httpx"):  # it logs addresses
            answer = httpx.post(address, json=payload, timeout=TIMEOUT_SEC, follow_redirects=False)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise ConnectionError(f"the webhook of {WEBHOOK} was not reached ({type(error).__name__})") from None
    if not answer.is_success:
        raise ConnectionError(f"the webhook of {WEBHOOK} answered {answer.status_code}")


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def by_email(message: Message, settings: EmailSettings, user: str | None, password: str | None) -> None:
    """Hand the message to the mail server.

    Raises:
        ConnectionError: not reached, or refused; the password is not named.
    """
    mail = EmailMessage()
    mail["Subject"] = message.subject
    mail["From"] = settings.sender
    mail["To"] = ", ".join(settings.recipients)
    mail["Message-ID"] = f"<{message.key}@autorisk>"
    mail.set_content(message.text)
    context = ssl.create_default_context()
    try:
        if settings.security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(settings.host, settings.port, timeout=TIMEOUT_SEC, context=context)
        else:
            server = smtplib.SMTP(settings.host, settings.port, timeout=TIMEOUT_SEC)
        with server:
            if settings.security == "starttls":
                server.starttls(context=context)
            if user and password:
                server.login(user, password)
            server.send_message(mail)
    except (smtplib.SMTPException, OSError) as error:
        raise ConnectionError(
            f"the mail server {settings.host}:{settings.port} did not take the message ({type(error).__name__})"
        ) from None
