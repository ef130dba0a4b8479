"""The one exception of the package; its text reads `problem (why) suggestion`."""


class AnalysisError(Exception):
    """An input that cannot be read; the command line prints it and exits with 2."""
