"""Think, then JSON: decoding in which what follows `</think>` can only be an answer that holds the schema.

The model thinks freely, for at most a given number of tokens, then `</think>` is written for it if it has not done so;
from there on llguidance masks every token that would leave the JSON schema. Strings and lists are bounded, so that the
answer ends, and is whole, however the model goes on.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from transformers import LogitsProcessor, PreTrainedTokenizerFast

from autorisk_dagster.errors import BackendError

THINK, END_OF_THINK = "<think>", "</think>"
MAX_ITEMS: Final = 8  # of one list: hazards of a clip, actors of a hazard
# Of a string in a list: names and places. Eight hazards of eight actors with sentences each would be an hour's answer.
MAX_NAME_CHARS: Final = 120

Schema = dict[str, Any]


class ThinkThenJson(LogitsProcessor):  # type: ignore[misc]  # transformers is not typed
    """Masks the logits of one `generate` call, batch of one.

    Args:
        grammar: a compiled `JsonGrammar`
        prompt_tokens: length of the prompt, after which the answer begins
        max_think_tokens: thinking is ended after so many tokens; 0: the answer begins with the JSON
    """

    def __init__(self, grammar: JsonGrammar, prompt_tokens: int, max_think_tokens: int) -> None:
        self._grammar = grammar
        self._start = prompt_tokens
        self._max_think = max_think_tokens
        self._matcher = grammar.matcher() if max_think_tokens == 0 else None
        self._consumed = prompt_tokens

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """`scores`, (1, vocabulary), with what may not follow `input_ids`, (1, length), at minus infinity."""
        if input_ids.shape[0] != 1:
            raise BackendError("constrained decoding answers one clip at a time")
        if self._matcher is None:
            return self._thinking(input_ids, scores)
        for token in input_ids[0, self._consumed :].tolist():
            if not self._matcher.consume_token(token):
                raise BackendError(f"constrained decoding left its grammar: {self._matcher.get_error()}")
        self._consumed = input_ids.shape[1]
        allowed = torch.frombuffer(bytearray(self._matcher.compute_logit_bias()), dtype=torch.uint8)
        allowed = allowed[: scores.shape[-1]].to(scores.device)
        return scores.masked_fill(allowed == 0, float("-inf"))

    def _thinking(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        end = self._grammar.end_of_think
        thought = input_ids.shape[1] - self._start
        if thought and int(input_ids[0, -1]) == end:
            self._matcher = self._grammar.matcher()
            self._consumed = input_ids.shape[1]
            return self(input_ids, scores)
        if thought >= self._max_think:
            forced = torch.full_like(scores, float("-inf"))
            forced[0, end] = 0.0
            return forced
        masked = scores.clone()
        masked[0, self._grammar.not_in_thought] = float("-inf")
        return masked


class JsonGrammar:
    """A JSON schema compiled for a tokenizer, to be used by any number of `generate` calls.

    Args:
        schema: JSON schema; strings and lists without a bound get one
        tokenizer: the model's
        vocabulary: rows of the model's output, which may be more than the tokenizer's tokens
        max_text_chars: bound of a string that has none

    Raises:
        BackendError: the schema or the tokenizer cannot be used.
    """

    def __init__(
        self,
        schema: Schema,
        tokenizer: PreTrainedTokenizerFast,
        vocabulary: int,
        max_text_chars: int,
    ) -> None:
        import llguidance
        import llguidance.hf

        self.schema = bounded(schema, max_text_chars)
        self.max_tokens = longest_chars(self.schema)
        self._tokenizer = llguidance.hf.from_tokenizer(tokenizer, n_vocab=vocabulary)
        self._grammar = llguidance.LLMatcher.grammar_from_json_schema(
            self.schema, defaults={"whitespace_flexible": False}
        )
        problem = llguidance.LLMatcher.validate_grammar(self._grammar, self._tokenizer)
        if problem:
            raise BackendError(f"the answer's schema cannot be compiled: {problem}")
        self.end_of_think: int = tokenizer.convert_tokens_to_ids(END_OF_THINK)
        if self.end_of_think is None or self.end_of_think == tokenizer.unk_token_id:
            raise BackendError(f"the tokenizer has no {END_OF_THINK} token: is this a reasoning model?")
        self.not_in_thought = sorted(set(tokenizer.all_special_ids))

    def matcher(self) -> Any:
        """A fresh state at the beginning of the JSON."""
        import llguidance

        return llguidance.LLMatcher(self._tokenizer, self._grammar)


def bounded(schema: Schema, max_text_chars: int, max_items: int = MAX_ITEMS) -> Schema:
    """`schema` with a bound on every string and list that has none, so that what holds it is finite; strings in lists
    are names, and shorter (`MAX_NAME_CHARS`)."""
    result: Schema = {}
    for key, value in schema.items():
        if isinstance(value, dict):
            chars = min(max_text_chars, MAX_NAME_CHARS) if key == "items" else max_text_chars
            result[key] = bounded(value, chars, max_items)
        elif isinstance(value, list):
            result[key] = [bounded(v, max_text_chars, max_items) if isinstance(v, dict) else v for v in value]
        else:
            result[key] = value
    if result.get("type") == "string" and "enum" not in result:
        result.setdefault("maxLength", max_text_chars)
    if result.get("type") == "array":
        result.setdefault("maxItems", max_items)
    return result


def longest_chars(schema: Schema) -> int:
    """Upper bound of the bytes, and so of the tokens, of a text that holds a bounded schema without whitespace freedom.

    A character takes at most 6 bytes: as UTF-8 four, escaped (`\\u00e9`) six.
    """
    definitions = schema.get("$defs", {})

    def longest(part: Schema) -> int:
        if "$ref" in part:
            return longest(definitions[str(part["$ref"]).rsplit("/", 1)[-1]])
        if "enum" in part or "const" in part:
            return max(len(str(value)) for value in part.get("enum", [part.get("const")])) + 2
        if "anyOf" in part:
            return max(longest(choice) for choice in part["anyOf"])
        kind = part.get("type")
        if kind == "string":
            return 6 * int(part["maxLength"]) + 2
        if kind == "array":
            return int(part["maxItems"]) * (longest(part["items"]) + 2) + 2
        if kind == "object":
            return sum(len(name) + 6 + longest(value) for name, value in part.get("properties", {}).items()) + 2
        return 32  # a number, a truth value, null

    return longest(schema)
