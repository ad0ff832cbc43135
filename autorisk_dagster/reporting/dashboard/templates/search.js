/* Search: BM25 in the browser, from the index that was made with the site (reporting/dashboard/search_index.py). */
"use strict";
const Search = (() => {
  const K1 = 1.2, B = 0.75; // the usual values: Robertson and Zaragoza 2009, section 3.2
  const words = (text) => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];

  /* Porter's stemmer (1980), the same steps as reporting/dashboard/stemmer.py. */
  const STEP_2 = [["ational", "ate"], ["tional", "tion"], ["enci", "ence"], ["anci", "ance"], ["izer", "ize"], ["abli", "able"], ["alli", "al"], ["entli", "ent"], ["eli", "e"], ["ousli", "ous"], ["ization", "ize"], ["ation", "ate"], ["ator", "ate"], ["alism", "al"], ["iveness", "ive"], ["fulness", "ful"], ["ousness", "ous"], ["aliti", "al"], ["iviti", "ive"], ["biliti", "ble"]];
  const STEP_3 = [["icate", "ic"], ["ative", ""], ["alize", "al"], ["iciti", "ic"], ["ical", "ic"], ["ful", ""], ["ness", ""]];
  const STEP_4 = ["al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou", "ism", "ate", "iti", "ous", "ive", "ize"];
  const longest = (list, of) => [...list].sort((a, b) => of(b).length - of(a).length);
  const [TWO, THREE, FOUR] = [longest(STEP_2, (r) => r[0]), longest(STEP_3, (r) => r[0]), longest(STEP_4, (r) => r)];
  const consonant = (w, at) => ("aeiou".includes(w[at]) ? false : w[at] !== "y" || at === 0 || !consonant(w, at - 1));
  function measure(w) {
    let m = 0;
    for (let at = 1; at < w.length; at++) if (!consonant(w, at - 1) && consonant(w, at)) m++;
    return m;
  }
  const hasVowel = (w) => [...w].some((_, at) => !consonant(w, at));
  const cvc = (w) => { const last = w.length - 1; return last >= 2 && consonant(w, last) && !consonant(w, last - 1) && consonant(w, last - 2) && !"wxy".includes(w[last]); };
  function replaced(w, rules) {
    for (const [suffix, kept] of rules) if (w.endsWith(suffix)) { const base = w.slice(0, w.length - suffix.length); return measure(base) > 0 ? base + kept : w; }
    return w;
  }
  function past(w) {
    if (w.endsWith("eed")) return measure(w.slice(0, -3)) > 0 ? w.slice(0, -1) : w;
    for (const suffix of ["ed", "ing"]) {
      const base = w.slice(0, w.length - suffix.length);
      if (!w.endsWith(suffix) || !hasVowel(base)) continue;
      if (/(at|bl|iz)$/.test(base)) return base + "e";
      const last = base.length - 1;
      if (last > 0 && base[last] === base[last - 1] && consonant(base, last) && !"lsz".includes(base[last])) return base.slice(0, -1);
      return measure(base) === 1 && cvc(base) ? base + "e" : base;
    }
    return w;
  }
  function stem(word) {
    if (!/^[a-z]{3,}$/.test(word)) return word;
    let w = word;
    for (const [suffix, kept] of [["sses", "ss"], ["ies", "i"], ["ss", "ss"], ["s", ""]]) if (w.endsWith(suffix)) { w = w.slice(0, w.length - suffix.length) + kept; break; }
    w = past(w);
    if (w.endsWith("y") && hasVowel(w.slice(0, -1))) w = w.slice(0, -1) + "i";
    w = replaced(replaced(w, TWO), THREE);
    const suffix = FOUR.find((one) => w.endsWith(one));
    if (suffix) {
      const base = w.slice(0, w.length - suffix.length);
      if (measure(base) > 1 && (suffix !== "ion" || /[st]$/.test(base))) w = base;
    }
    if (w.endsWith("e")) {
      const base = w.slice(0, -1);
      if (measure(base) > 1 || (measure(base) === 1 && !cvc(base))) w = base;
    }
    return w.endsWith("ll") && measure(w.slice(0, -1)) > 1 ? w.slice(0, -1) : w;
  }

  /* The forms of a query word that the index knows, with their postings. */
  async function forms(index, word, exact) {
    const stemmed = stem(word);
    const [first, second] = [...stemmed].map((letter) => letter.codePointAt(0));
    const shard = index.shards[(31 * first + (second ?? 0)) % index.shards.length];
    if (!shard) return [];
    const found = (await Site.chunk(shard)).find(([known]) => known === stemmed)?.[1] ?? [];
    return exact ? found.filter(([form]) => form === word) : found;
  }

  /* Numbers of clips, best first, as [clip, score, words found]. `fields`: which of index.fields count.
     A clip with all words comes before one with some; equal scores stand in the clips' own order, worst first. */
  async function search(index, query, { fields = index.fields, exact = false } = {}) {
    const wanted = [...new Set(words(query).map((word) => (exact ? word : stem(word))))];
    const terms = [...new Map(words(query).map((word) => [exact ? word : stem(word), word])).values()];
    const chosen = index.fields.map((field, n) => [n, fields.includes(field)]).filter(([, on]) => on).map(([n]) => n);
    const lengths = index.lengths[0].map((_, clip) => chosen.reduce((sum, n) => sum + index.lengths[n][clip], 0));
    const size = lengths.length, mean = lengths.reduce((sum, one) => sum + one, 0) / (size || 1) || 1;
    const scores = new Map();
    for (const term of terms) {
      const times = new Map();
      for (const [, postings] of await forms(index, term, exact)) {
        for (let at = 0; at < postings.length; at += 1 + index.fields.length) {
          const often = chosen.reduce((sum, n) => sum + postings[at + 1 + n], 0);
          if (often) times.set(postings[at], (times.get(postings[at]) ?? 0) + often);
        }
      }
      const rarity = Math.log(1 + (size - times.size + 0.5) / (times.size + 0.5));
      for (const [clip, often] of times) {
        const known = scores.get(clip) ?? [0, 0];
        scores.set(clip, [known[0] + (rarity * often * (K1 + 1)) / (often + K1 * (1 - B + (B * lengths[clip]) / mean)), known[1] + 1]);
      }
    }
    return { wanted: wanted.length, found: [...scores].map(([clip, [score, hits]]) => [clip, score, hits]).sort((a, b) => b[2] - a[2] || b[1] - a[1] || a[0] - b[0]) };
  }

  return { words, stem, search };
})();

(async () => {
  const { h, badge, clock, ttc, counted } = Site;
  const PAGE = 20;
  const place = (id) => document.getElementById(id);
  const form = place("search");
  if (!form) return;
  let clips, index;
  try {
    [clips, index] = await Promise.all([Site.clips(), Site.chunk(document.body.dataset.search)]);
  } catch (error) {
    return Site.failed(place("count"), error);
  }
  const filter = Site.filters(place("filters"), clips, () => run());
  const options = () => ({ exact: form.elements.exact.checked, fields: [...form.querySelectorAll("[name=field]:checked")].map((box) => box.value) });
  let latest = 0;

  async function run() {
    const mine = ++latest;
    const query = form.elements.q.value.trim();
    const holds = filter.holds();
    const { exact, fields } = options();
    let found, wanted;
    try {
      ({ found, wanted } = query ? await Search.search(index, query, { exact, fields }) : { wanted: 0, found: Array.from({ length: clips.size }, (_, clip) => [clip, null, 0]) });
    } catch (error) {
      return Site.failed(place("count"), error);
    }
    if (mine !== latest) return;
    const kept = found.filter(([clip]) => holds(clip));
    const all = kept.filter(([, , hits]) => hits === wanted).length;
    place("count").textContent = !query ? `${counted(kept.length, "clip")}, worst first. Type words to search in what was said of them.` : wanted > 1 && all < kept.length ? `${counted(kept.length, "clip")}: ${all} with all words, ${kept.length - all} with some` : counted(kept.length, "clip");
    turn(kept, 0, new Set(Search.words(query).map((word) => (exact ? word : Search.stem(word)))), exact, fields);
  }

  function turn(kept, page, terms, exact, fields) {
    const shown = kept.slice(page * PAGE, (page + 1) * PAGE);
    place("results").replaceChildren(...shown.map(([clip, score]) => result(clips.row(clip), score, terms, exact, fields)));
    Site.pager(place("pager"), page, Math.ceil(kept.length / PAGE), (to) => { turn(kept, to, terms, exact, fields); place("count").scrollIntoView(); });
  }

  function result(row, score, terms, exact, fields) {
    const body = h("div", { class: "body" }, h("a", { href: `clips.html#${encodeURIComponent(row.id)}` }, row.id), " ", badge(row.severity), h("small", {}, [row.of.name, `${clock(row.start)} to ${clock(row.end)}`, `time to contact: ${ttc(row.ttc)}`, row.misses ? counted(row.misses, "near miss", "near misses") : null, score === null ? null : `score ${score.toFixed(2)}`].filter(Boolean).join(" · ")));
    Site.chunk(row.chunk, "clips").then((clip) => body.append(...passages(clip, terms, exact, fields)), (error) => body.append(h("p", { class: "unmade" }, error.message)));
    return h("li", {}, Site.picture(row.preview), body);
  }

  /* The texts that hold a word, or what happens where none is asked for; the words marked. */
  function passages(clip, terms, exact, fields) {
    const reason = clip.reason;
    if (!reason) return [h("p", { class: "unmade" }, "Not judged: reason_outputs was not made.")];
    const texts = {
      hazards: (reason.hazards ?? []).map((hazard) => [hazard.type, ...(hazard.actors ?? []), hazard.spatial_relation].filter(Boolean).join(" ")),
      reasoning: [reason.causal_reasoning, reason.short_term_prediction, reason.recommended_action],
      evidence: [...(reason.evidence ?? []), ...clip.misses.map((event) => `${event.actors} ${event.evidence ?? ""}`)],
    };
    const holds = (text) => Search.words(text).some((word) => terms.has(exact ? word : Search.stem(word)));
    const all = fields.flatMap((field) => texts[field].filter(Boolean).map((text) => [field, text]));
    const found = all.filter(([, text]) => holds(text)).slice(0, 4);
    if (!found.length) return reason.causal_reasoning ? [h("p", {}, reason.causal_reasoning)] : [];
    return found.map(([field, text]) => h("p", {}, h("span", { class: "muted" }, `${field}: `), ...marked(text, terms, exact)));
  }

  function marked(text, terms, exact) {
    return text.split(/([\p{L}\p{N}]+)/u).map((piece) => {
      const word = piece.toLowerCase();
      return terms.has(exact ? word : Search.stem(word)) && /[\p{L}\p{N}]/u.test(piece) ? h("mark", {}, piece) : piece;
    });
  }

  /* The address keeps the query, so that a search can be passed on. */
  function remember() {
    const query = form.elements.q.value.trim();
    history.replaceState(null, "", query ? `#q=${encodeURIComponent(query)}` : location.pathname.split("/").pop());
    run();
  }
  form.addEventListener("submit", (event) => { event.preventDefault(); remember(); });
  form.addEventListener("change", remember);
  let pause;
  form.elements.q.addEventListener("input", () => { clearTimeout(pause); pause = setTimeout(remember, 250); });
  const asked = decodeURIComponent(location.hash).match(/^#q=(.*)$/s);
  if (asked) form.elements.q.value = asked[1];
  run();
})();
