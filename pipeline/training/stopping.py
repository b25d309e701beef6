"""Stopping at a step boundary, together: a signal to one process ends all of them, after a checkpoint."""

import signal
from types import FrameType

import torch
from accelerate import Accelerator

from pipeline.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class StopRequest:
    """Remembers the first signal of ``SIGNALS``, so that a step is never cut in two."""

    def __init__(self) -> None:
        self.received: int | None = None
        for number in SIGNALS:
            signal.signal(number, self._remember)

    def _remember(self, number: int, _frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt  # a second Ctrl-C means now
        self.received = self.received or number

    def agreed(self, accelerator: Accelerator, due: bool) -> tuple[bool, bool]:
        """Whether any process was asked to stop, and whether a checkpoint is ``due`` for any.

        Every process must call this at the same step.
        """
        asked = self.received is not None, due
        if accelerator.num_processes == 1:
            return asked
        flags = torch.tensor(asked, dtype=torch.float32, device=accelerator.device)
        stopping, saving = (accelerator.reduce(flags, "sum") > 0).tolist()
        return stopping, saving

    def stop(self) -> None:
        """End this process: as interrupted by the user, or for the cluster to start again."""
        raise Interrupted(by_user=self.received == signal.SIGINT)
