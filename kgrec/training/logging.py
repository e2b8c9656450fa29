"""Reports a training run, to callbacks and log files: stages and their times, losses, validation scores."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kgrec.config import AdaptConfig, TrainConfig
from kgrec.errors import RequestError

OnMetric = Callable[[str, float, int], None]  # called with (name, value, step)
_log = logging.getLogger(__name__)


@contextmanager
def time_stages(
    on_stage: Callable[[str], None] | None,
    on_metric: OnMetric | None,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[Callable[[str], None]]:
    """Times and logs stages; a stage ends when the next begins, or with the block.

    Args:
        on_stage: called with each stage as it begins.
        on_metric: called with ("seconds/<stage>", its duration in seconds, its number from 0).
        clock: returns seconds.

    Yields:
        A function to call with each stage as it begins.
    """
    n_stages, stage, started = 0, "", 0.0

    def end() -> None:
        nonlocal n_stages
        if not stage:
            return
        seconds = clock() - started
        _log.debug("%s: %.2f s", stage, seconds)
        if on_metric is not None:
            on_metric(f"seconds/{stage}", seconds, n_stages)
        n_stages += 1

    def begin(name: str) -> None:
        nonlocal stage, started
        end()
        stage, started = name, clock()
        _log.info("%s", name)
        if on_stage is not None:
            on_stage(name)

    yield begin
    end()


@contextmanager
def log_run(
    config: TrainConfig | AdaptConfig, log_dir: Path | None = None, wandb_project: str | None = None
) -> Iterator[OnMetric | None]:
    """Writes the metrics of a run to TensorBoard and to Weights & Biases.

    Args:
        config: the run's settings, written with its metrics.
        log_dir: the folder for TensorBoard's event file, a new one for each run; None: no TensorBoard.
        wandb_project: the project in Weights & Biases; None: no Weights & Biases.

    Yields:
        A function to call with each metric; None if both logs are off.

    Raises:
        RequestError: the package of a log is not installed.
    """
    with _log_to_tensorboard(config, log_dir) as to_tensorboard, _log_to_wandb(config, wandb_project) as to_wandb:
        listeners = [listener for listener in (to_tensorboard, to_wandb) if listener is not None]

        def report(name: str, value: float, step: int) -> None:
            for listener in listeners:
                listener(name, value, step)

        yield report if listeners else None


@contextmanager
def _log_to_tensorboard(config: TrainConfig | AdaptConfig, log_dir: Path | None) -> Iterator[OnMetric | None]:
    if log_dir is None:
        yield None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise RequestError(
            f"a TensorBoard log needs its package ({error}): pip install 'kgrec[tensorboard]'"
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
        raise RequestError(f"a Weights & Biases log needs its package ({error}): pip install 'kgrec[wandb]'") from error
    with wandb.init(project=project, config=config.model_dump(mode="json")) as run:
        run.define_metric("*", step_metric="step")
        yield lambda name, value, step: run.log({name: value, "step": step})
