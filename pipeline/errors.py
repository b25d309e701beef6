"""What ends a program early, other than a defect of ours."""

EXIT_AGAIN = 75  # EX_TEMPFAIL: stopped by a signal with its work saved; start the same command again


class UsageError(ValueError):
    """Something the user can mend: one line that says what is wrong and what to do about it.

    Programs print it without a traceback and exit with code 2; ``--debug`` shows the traceback.
    """


class LocalError(UsageError):
    """One that other processes of the run may not meet: the one that does tells it."""


class Interrupted(BaseException):
    """Training stopped at a step boundary, with a checkpoint, because a signal asked for it."""

    def __init__(self, *, by_user: bool) -> None:
        self.code = 130 if by_user else EXIT_AGAIN
