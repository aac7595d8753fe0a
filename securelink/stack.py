"""
How deep C code may recurse on the thread that asks.

The MessagePack decoder calls itself once for every level of nesting. The interpreter stops it at
the recursion limit (1,000) with a RecursionError; on a stack too small for so many levels the
process dies first. A thread's stack may be small because of `threading.stack_size()`, a small
RLIMIT_STACK, musl (128 KiB) or a program that embeds Python, and none of these can be told from
Python's settings: those are about threads still to be started. So the stack itself is measured,
once per thread, and where that is impossible it counts as unknown.
"""

from __future__ import annotations

import sys

# The module below `threading`: all that is needed here is a thread-local value.
from _thread import _local as ThreadLocal  # noqa: N812 - a class under its public meaning

from .limits import STACK_PER_LEVEL

try:
    import ctypes
except ImportError:  # a Python built without libffi: every stack is unknown
    ctypes = None  # type: ignore[assignment]

_C_RECURSION_LIMIT = 10_000  # compiled into 3.12 and 3.13, at most; setrecursionlimit() has no say
_DEFAULT_RECURSION_LIMIT = 1000
_ATTRIBUTES_SIZE = 256  # bytes; pthread_attr_t has 56 on 64-bit glibc and musl

# From 3.14 on the interpreter looks at the real stack, except on musl, where it guesses its size.
_GUARDED = sys.version_info >= (3, 14) and (
    sys.platform != "linux"
    or (ctypes is not None and hasattr(ctypes.CDLL(None), "gnu_get_libc_version"))
)

_known = ThreadLocal()


def safe_levels() -> int:
    """
    Tell how many levels of nesting the calling thread's stack can take.

    Returns:
        The number of levels, 0 when the stack cannot be measured.
    """
    try:
        levels: int = _known.levels
    except AttributeError:
        _known.levels = levels = _stack_size() // STACK_PER_LEVEL
    return levels


def allowed_levels() -> int:
    """
    Tell how many levels the interpreter lets C code go before it raises RecursionError.

    Asked every time: a program may raise the recursion limit whenever it likes.
    """
    if sys.version_info >= (3, 14):
        return 0 if _GUARDED else sys.maxsize
    if sys.version_info >= (3, 12):
        return _C_RECURSION_LIMIT
    limit = sys.getrecursionlimit()
    # Who raises it bets on the stack for code of their own, not for what a peer may send.
    return limit if limit <= _DEFAULT_RECURSION_LIMIT else sys.maxsize


def _stack_size() -> int:
    """Measure the calling thread's stack, in bytes; 0 where the platform does not tell."""
    if ctypes is None:
        return 0
    try:
        if sys.platform == "win32":
            low, high = ctypes.c_size_t(), ctypes.c_size_t()
            ctypes.windll.kernel32.GetCurrentThreadStackLimits(
                ctypes.byref(low), ctypes.byref(high)
            )
            return high.value - low.value
        libc = ctypes.CDLL(None)
        libc.pthread_self.restype = ctypes.c_void_p
        thread = ctypes.c_void_p(libc.pthread_self())
        if sys.platform == "darwin":
            libc.pthread_get_stacksize_np.restype = ctypes.c_size_t
            return int(libc.pthread_get_stacksize_np(thread))
        return _posix_stack_size(libc, thread)
    except (AttributeError, OSError, TypeError):  # a libc without that function
        return 0


def _posix_stack_size(libc: ctypes.CDLL, thread: ctypes.c_void_p) -> int:
    attributes = ctypes.create_string_buffer(_ATTRIBUTES_SIZE)
    # For the main thread glibc reads /proc/self/maps; without /proc it answers with an error.
    if libc.pthread_getattr_np(thread, attributes) != 0:
        return 0
    size = ctypes.c_size_t()
    failed = libc.pthread_attr_getstacksize(attributes, ctypes.byref(size))
    libc.pthread_attr_destroy(attributes)
    return 0 if failed else size.value
