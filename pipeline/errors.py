"""The one exception that users are meant to see."""


class UsageError(ValueError):
    """Something the user can mend: one line that says what is wrong and what to do about it.

    Programs print it without a traceback and exit with code 2; ``--debug`` shows the traceback.
    """
