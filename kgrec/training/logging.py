"""What a training run reports of itself: losses, qualities on validation, what its stages took."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kgrec.config import AdaptConfig, TrainConfig
from kgrec.errors import RequestError

OnMetric = Callable[[str, float, int], None]  # called with (name, value, step)


@contextmanager
def time_stages(
    on_stage: Callable[[str], None] | None,
    on_metric: OnMetric | None,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[Callable[[str], None]]:
    """Gives what is to be told of each stage; a stage ends where the next begins, or with the block.

    Args:
        on_stage: called with each stage.
        on_metric: called with ("seconds/<stage>", how long it took, its number from 0).
        clock: seconds.
    """
    n_stages, stage, started = 0, "", 0.0

    def end() -> None:
        nonlocal n_stages
        if stage and on_metric is not None:
            on_metric(f"seconds/{stage}", clock() - started, n_stages)
            n_stages += 1

    def tell(name: str) -> None:
        nonlocal stage, started
        end()
        stage, started = name, clock()
        if on_stage is not None:
            on_stage(name)

    yield tell
    end()


@contextmanager
def log_run(
    config: TrainConfig | AdaptConfig, log_dir: Path | None = None, wandb_project: str | None = None
) -> Iterator[OnMetric | None]:
    """Gives what is to be told of each number, None where nobody listens; what was told is written when the block ends.

    Args:
        config: of the run, which is logged beside its numbers.
        log_dir: the folder of TensorBoard's event file, one for each run.
        wandb_project: the project in Weights & Biases.

    Raises:
        RequestError: the package that is needed is not installed.
    """
    with _log_to_tensorboard(config, log_dir) as to_tensorboard, _log_to_wandb(config, wandb_project) as to_wandb:
        listeners = [listener for listener in (to_tensorboard, to_wandb) if listener is not None]

        def tell(name: str, value: float, step: int) -> None:
            for listener in listeners:
                listener(name, value, step)

        yield tell if listeners else None


@contextmanager
def _log_to_tensorboard(config: TrainConfig | AdaptConfig, log_dir: Path | None) -> Iterator[OnMetric | None]:
    if log_dir is None:
        yield None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise RequestError(
            f"a log for TensorBoard needs its package ({error}): pip install 'kgrec[tensorboard]'"
        ) from error
    with SummaryWriter(str(log_dir)) as writer:
        writer.add_text("config", f"```json\n{config.model_dump_json(indent=1)}\n```")
        yield writer.add_scalar


@contextmanager
def _log_to_wandb(config: TrainConfig | AdaptConfig, project: str | None) -> Iterator[OnMetric | None]:
    if project is None:
        yield None
        return
    try:
        import wandb
    except ImportError as error:
        raise RequestError(
            f"a log in Weights & Biases needs its package ({error}): pip install 'kgrec[wandb]'"
        ) from error
    with wandb.init(project=project, config=config.model_dump(mode="json")) as run:
        run.define_metric("*", step_metric="step")
        yield lambda name, value, step: run.log({name: value, "step": step})
