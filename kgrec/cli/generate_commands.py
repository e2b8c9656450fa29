"""The commands that continue likes: train-generator, generate."""

import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kgrec.cli.app import app
from kgrec.cli.command_inputs import (
    describe_user,
    open_bundle,
    open_live_bundle,
    read_columns,
    read_ids,
    read_sequence,
)
from kgrec.cli.options import (
    WAIT_S,
    BundlePath,
    CandidatesFile,
    ConfigFile,
    ExcludeFile,
    K,
    KnownUser,
    LikedItems,
    LikeSequence,
    LiveStore,
    OutFile,
    OutFormat,
    Seed,
    Wait,
)
from kgrec.cli.results import write_answer
from kgrec.terminal import make_total_counter, print_table, say, show_progress

if TYPE_CHECKING:
    from rich.progress import Progress

    from kgrec.bundle import Bundle
    from kgrec.config import GeneratorConfig
    from kgrec.generate.next_items import NextItemGenerator

_BEAMS, _STEPS, _TIME_LIMIT_S = 20, 200, 30.0
_MODEL_HELP = "a transformers folder, a GGUF file, smollm2, or owner/name on the model hub"


class Tuned(StrEnum):
    """What of a language model is tuned."""

    LORA = "lora"
    ADALORA = "adalora"
    PREFIX = "prefix"


class GenerateBy(StrEnum):
    """What a language model does."""

    RANK = "rank"
    WRITE = "write"
    ASK = "ask"


@app.command()
def train_generator(
    bundle: BundlePath,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="The folder to write to.")],
    config: ConfigFile = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds", min=0.001, metavar="N", help="The longest training, with all measuring. Default: 1500."
        ),
    ] = None,
    seed: Seed = None,
    language_model: Annotated[
        str | None,
        typer.Option("--language-model", metavar="SOURCE", help=f"Tune a language model instead: {_MODEL_HELP}."),
    ] = None,
    method: Annotated[Tuned | None, typer.Option("--method", help="What of it is tuned. Default: lora.")] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, metavar="N", help=f"The most steps of tuning it. Default: {_STEPS}.")
    ] = None,
) -> None:
    """Trains a generator of next items on a bundle's likes in order.

    With --language-model, tunes one on the names of the liked items instead, and writes an adapter.
    """
    import kgrec
    from kgrec.config import TrainConfig
    from kgrec.errors import RequestError

    if language_model is None and (method is not None or steps is not None):
        raise RequestError("--method and --steps are for tuning a language model: give --language-model, too")
    given = {"seconds": seconds, "seed": seed}
    settings = None if config is None else TrainConfig.from_toml(config).generator
    trained = open_bundle(bundle).bundle
    settings = (settings or trained.config.generator).model_copy(
        update={name: value for name, value in given.items() if value is not None}
    )
    if language_model is not None:
        _tune(trained, bundle, out, settings, language_model, str(method or Tuned.LORA), steps or _STEPS)
        return
    from kgrec.generate.generator_folder import check_generator_folder

    check_generator_folder(out)  # before the training, not after it
    with show_progress() as progress:
        generator = kgrec.train_generator(trained, settings, on_step=_count_steps(progress, settings.seconds))
    generator.save(out)
    report = generator.report
    if report.n_users:
        print_table(
            f"The last likes of {report.n_users:,} users, held out to validate, among all items",
            ("ranking", "Recall@10", "NDCG@10"),
            [(name, *figures) for name, figures in report.figures.items()],
        )
    else:
        say("nobody has two likes: there is nothing to validate on")
    if report.behind == "popularity":
        say(
            "warning: the generator is worse than popularity, or only as good: train longer, with a larger --seconds, "
            "or epochs in [generator] of --config"
        )
    elif report.behind == "transitions":
        say("warning: transitions, which `kgrec recommend` has, find as much or more: use `kgrec recommend`")
    say(f"trained in {report.seconds:.0f} s; written to {out}; use it with: kgrec generate {bundle} --generator {out}")


def _count_steps(progress: "Progress", seconds: float) -> Callable[[int, int], None]:
    """Shows steps; those that the time is too short for are not expected."""
    count, started = make_total_counter(progress, "steps"), time.monotonic()

    def show(done: int, total: int) -> None:
        in_time = done * seconds / max(time.monotonic() - started, 1e-3)
        count(done, max(done, min(total, round(in_time))))

    return show


def _tune(
    trained: "Bundle", bundle: Path, out: Path, settings: "GeneratorConfig", source: str, method: Any, steps: int
) -> None:
    """Tunes a language model on the names of what users like, in order, and writes an adapter."""
    from kgrec.generate.held_out_likes import read_sequences
    from kgrec.generate.title_generators import name_items
    from kgrec.language import LocalLanguageModel
    from kgrec.language.title_tuning import TitleTuning, tune_titles
    from kgrec.language.titles import TitlePrompt

    sequences = read_sequences(trained, settings.seed)
    prompt = TitlePrompt(name_items(trained.schema))
    names = trained.names[trained.schema.item_type]
    with show_progress() as progress:
        report = tune_titles(
            LocalLanguageModel.load(source), names, sequences, out,
            TitleTuning(prompt, method, steps=steps, seed=settings.seed),
            time_limit_s=settings.seconds, on_step=_count_steps(progress, settings.seconds),
        )  # fmt: skip
    say(report.reason)
    used = f"kgrec generate {bundle} --language-model {source}"
    used = f"use it with: {used} --adapter {out}" if report.kept else f"it is not kept; use the model alone: {used}"
    say(f"tuned {report.steps} steps in {report.seconds:.0f} s; written to {out}; {used}")


@app.command()
def generate(
    bundle: BundlePath,
    user: KnownUser = None,
    like: LikedItems = None,
    sequence: LikeSequence = None,
    k: K = 10,
    candidates: CandidatesFile = None,
    exclude: ExcludeFile = None,
    generator: Annotated[
        Path | None,
        typer.Option("--generator", metavar="FOLDER", help="What `kgrec train-generator` wrote: it writes the items."),
    ] = None,
    beams: Annotated[
        int | None,
        typer.Option(
            "--beams", min=1, metavar="N", help=f"More find likelier items and take longer. Default: {_BEAMS}."
        ),
    ] = None,
    language_model: Annotated[
        str | None, typer.Option("--language-model", metavar="SOURCE", help=f"A local language model: {_MODEL_HELP}.")
    ] = None,
    method: Annotated[
        GenerateBy | None,
        typer.Option(
            "--method",
            help="It ranks what kgrec recommends, writes names of the catalogue, or is asked, and its answer matched "
            "to the catalogue. Default: rank.",
        ),
    ] = None,
    adapter: Annotated[
        Path | None,
        typer.Option("--adapter", metavar="FOLDER", help="What `kgrec train-generator --language-model` wrote."),
    ] = None,
    time_limit: Annotated[
        float,
        typer.Option(
            "--time-limit",
            min=0.001,
            metavar="SECONDS",
            help="How long a language model may take; then kgrec answers. The time to load the model comes on top.",
        ),
    ] = _TIME_LIMIT_S,
    store: LiveStore = None,
    wait: Wait = WAIT_S,
    format_: OutFormat = None,
    out: OutFile = None,
) -> None:
    """Continues the likes of a user by a generator or a language model.

    All items are in the catalogue. Where a language model fails or is too slow, the list is that of `kgrec recommend`.
    Its time limit begins when it is loaded.
    """
    from kgrec.errors import RequestError

    if user is None and not like and sequence is None:
        raise RequestError("got no user; expected --user, --like or --sequence")
    if (generator is None) == (language_model is None):
        got = "neither" if generator is None else "both"
        raise RequestError(f"got {got} of --generator and --language-model; expected one of them")
    if language_model is None and (method is not None or adapter is not None):
        raise RequestError("--method and --adapter are for a language model: give --language-model, not --generator")
    if beams is not None and language_model is not None and method != GenerateBy.WRITE:
        raise RequestError("--beams is for --generator and for --method write; leave it out")
    allowed = None if candidates is None else read_columns(candidates, ("item",))["item"]
    left_out = None if exclude is None else read_columns(exclude, ("item",))["item"]
    with open_live_bundle(bundle, store, wait) as recommender:
        user, like = read_ids(recommender, user, like)
        answer = recommender.generate(
            user, like or None, sequence=read_sequence(recommender, sequence), k=k, candidates=allowed,
            exclude=left_out, time_limit_s=time_limit,
            generator=_load(generator, beams or _BEAMS, language_model, method, adapter),
        )  # fmt: skip
    about = [] if sequence is None else [f"likes in {sequence.name}"]
    write_answer(answer, format_, out, describe_user(user, like, None, about))


def _load(
    generator: Path | None,
    beams: int,
    language_model: str | None,
    method: GenerateBy | None,
    adapter: Path | None,
) -> "NextItemGenerator":
    """The generator, or the language model with what it does."""
    if generator is not None:
        import kgrec

        return kgrec.load_generator(generator, beams=beams)
    from kgrec.generate.title_generators import TitleRanker, TitleWriter, ZeroShot
    from kgrec.language import LocalLanguageModel

    model = LocalLanguageModel.load(language_model or "", adapter=adapter)
    if method == GenerateBy.WRITE:
        return TitleWriter(model, beams=beams)
    return ZeroShot(model) if method == GenerateBy.ASK else TitleRanker(model)
