"""Threads that libraries start on their own, and that nothing here has work for."""

import os


def one_thread_for_matrices() -> None:
    """Keep numpy's matrix library from starting a thread for each core: nothing here multiplies matrices.

    They spin for a tenth of a second each before they sleep. To be called before numpy is loaded; what the user set
    stays.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # noqa: TID251 - written, not read: the library asks there
