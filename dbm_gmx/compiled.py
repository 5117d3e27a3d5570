"""Compiled code: how functions are compiled, and where what was compiled is kept.

A function is compiled when it is first called with arguments of some types, and kept on disk for the next
time.  Nothing old is ever taken: the folder's name is a digest of the source of all that is compiled, and of
all that it takes constants from.
"""

# numba knows the types in here
# mypy: disable-error-code="no-any-return, no-untyped-call"
from __future__ import annotations

import hashlib
import logging
import os
import pickle
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast
from uuid import uuid4

import numba as nb
from numba.core.caching import _Cache
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, CompileResult, DefaultPassBuilder
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.ir import Expr
from numba.core.registry import CPUDispatcher
from numba.core.serialize import dumps
from numba.core.typed_passes import NopythonTypeInference
from numba.core.types import Array, NamedTupleClass

log = logging.getLogger(__name__)

PACKAGE = Path(__file__).parent
SOURCES = (
    *("compiled.py", "errors.py", "interrupts.py", "logs.py", "options.py", "parallel.py"),
    *("chemistry", "forcefield", "network/guide_steps.py", "sampling"),
    *("files/locks.py", "files/output.py", "files/xtc_bits.py"),
)
"""Files and folders that hold compiled code, or what it takes constants from."""

OPTIONS = {"nopython": True, "nogil": True, "error_model": "numpy", "fastmath": True, "boundscheck": None}
"""Of numba; threads of other work go on while compiled code runs."""

INNER = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""Of functions that compiled code calls: no wrapper for calls from Python.  It unpacks records of many
arrays, and compiling it takes longer than compiling many a function."""

Function = TypeVar("Function", bound=Callable[..., Any])


# --- functions -------------------------------------------------------------------------------------


def compiled(*, makes_arrays: bool = False, **options: Any) -> Callable[[Function], Function]:
    """Compile a function, once for this machine.

    Parameters
    ----------
    makes_arrays
        Whether it makes arrays, or gets any from what it calls.  Others do not count who refers to an array,
        which their callers do: that takes an atomic operation or two for each array that is taken out of a
        record, longer than most of what is done with it.
    options
        Of :func:`numba.njit`, besides :data:`OPTIONS`.
    """
    options = {"_nrt": makes_arrays, **options}

    def compile_one(function: Function) -> Function:
        if nb.config.DISABLE_JIT:  # type: ignore[attr-defined]
            return function
        return cast(Function, CompiledFunction(function, {}, {**OPTIONS, **options, **INNER}, InnerCompiler))

    return compile_one


def plain(function: Function) -> Function:
    """The Python function that was compiled: for tensors and arrays of any library."""
    return cast(Function, getattr(function, "py_func", function))


class CompiledFunction(CPUDispatcher):
    """A function that compiled code calls directly, and Python through a second version with a wrapper."""

    def __call__(self, *args: Any, **named: Any) -> Any:
        """Call the version for Python."""
        return self.outer(*args, **named)

    @property
    def outer(self) -> Any:
        """The version that Python calls."""
        if "_outer" not in self.__dict__:
            with _LOCK:
                if "_outer" not in self.__dict__:
                    options = {k: v for k, v in self.targetoptions.items() if k not in INNER and k != "_nrt"}
                    options["no_cfunc_wrapper"] = True
                    made: Any = CPUDispatcher(self.py_func, {}, options)
                    made._cache = FunctionFiles(self.py_func, options)
                    self.__dict__["_outer"] = made
        return self.__dict__["_outer"]


_LOCK = threading.Lock()


# --- functions that compiled code calls ------------------------------------------------------------


class InnerLibrary(JITCodeLibrary):
    """Code of a function that is optimised and made machine code of as a part of its caller.

    numba would do both for the function alone as well, and again for all that it was linked into.
    """

    def _optimize_final_module(self) -> None:
        """Leave it to the caller."""

    def _finalize_final_module(self) -> None:
        """Leave it to the caller."""
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """There is no machine code."""
        self._ensure_finalized()
        return 0

    @property
    def codegen(self) -> Any:
        """What makes code, but for the environment of Python, which would be written into machine code."""
        return _WithoutEnvironment(self._codegen)


class _WithoutEnvironment:
    def __init__(self, codegen: Any):
        self._codegen = codegen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codegen, name)

    def set_env(self, name: str, environment: Any) -> None:
        """Nothing to set: a caller read from disk does without it too."""


@register_pass(mutates_CFG=False, analysis_only=True)
class UseInnerLibrary(FunctionPass):
    """Have the code written into a library of our own."""

    _name = "use_inner_library"

    def __init__(self) -> None:
        FunctionPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        """Set the library, which numba makes itself where there is none.

        Raises
        ------
        TypeError
            If arrays would be lost or freed while they are used, see :func:`compiled`.
        """
        if state.flags.nrt and _writes_out_arrays(state):
            raise TypeError(f"{state.func_id.func_qualname} makes arrays: it cannot have others written out")
        if not state.flags.nrt and _gets_arrays(state):
            raise TypeError(f"{state.func_id.func_qualname} gets or returns arrays: it must say makes_arrays")
        state.library = InnerLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        return False


def _gets_arrays(state: Any) -> bool:
    """Whether a function that is being compiled returns arrays, or what it calls does.

    Records of arrays that are there, and other names for these, may be made.
    """
    found = [state.return_type]
    for call, signature in state.calltypes.items():
        if isinstance(call, Expr) and call.op == "call":
            what = state.typemap.get(call.func.name)
            if not isinstance(what, NamedTupleClass) and not _is_written_out(what):
                found.append(signature.return_type)
    return any(_holds_arrays(one) for one in found)


def _writes_out_arrays(state: Any) -> bool:
    """Whether a function asks for arrays of one that is written in place of its calls.

    Where arrays are counted, numba gives an array back that has another name from then on, and is in use.
    """
    return any(
        isinstance(call, Expr)
        and call.op == "call"
        and _is_written_out(state.typemap.get(call.func.name))
        and _holds_arrays(signature.return_type)
        for call, signature in state.calltypes.items()
    )


def _is_written_out(kind: Any) -> bool:
    """Whether what a function does is written in place of its calls, before anything is made of them."""
    return any(
        getattr(one, "_inline", None) is not None and one._inline.is_always_inline
        for one in getattr(kind, "templates", ())
    )


def _holds_arrays(kind: Any) -> bool:
    """Whether a type is one of arrays, or of a tuple with some."""
    return isinstance(kind, Array) or any(map(_holds_arrays, getattr(kind, "types", ())))


class InnerCompiler(CompilerBase):
    """numba's compiler with a library of our own."""

    def define_pipelines(self) -> list[Any]:
        """One pipeline, numba's own and one more pass."""
        manager = DefaultPassBuilder.define_nopython_pipeline(self.state)
        manager.add_pass_after(UseInnerLibrary, NopythonTypeInference)
        manager.finalize()
        return [manager]


# --- what is kept ----------------------------------------------------------------------------------


class FunctionFiles(_Cache):
    """Machine code of one function, a file for each set of types.

    numba's own class does not tell options apart, and keeps an index in which two processes can overwrite
    each other's entries.  It is asked before anything is compiled: what it does not have is compiled next.

    Parameters
    ----------
    function, options
        What is compiled, and numba's options for it.
    """

    def __init__(self, function: Any, options: dict[str, Any]):
        self._name = f"{function.__module__}.{function.__qualname__}"
        line = function.__code__.co_firstlineno
        self._identity = f"{self._name} {line} {sorted(options.items())}"
        self._folder = cache_folder() if _is_ours(function) else None

    @property
    def cache_path(self) -> str | None:
        """The folder, if there is one."""
        return None if self._folder is None else str(self._folder)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """What was compiled for some types, or ``None``."""
        found = None
        if self._folder is not None:
            target_context.refresh()
            found = self._load(sig, target_context)
        if found is None:
            _say_once()
        return found

    def _load(self, sig: Any, target_context: Any) -> Any:
        try:
            types, payload = pickle.loads(self._path(sig, target_context.codegen()).read_bytes())
            return CompileResult._rebuild(target_context, *payload) if types == sig else None
        except FileNotFoundError:
            return None
        except Exception as error:  # a damaged file can raise anything; what it held is compiled again
            log.info("compiled code of %s cannot be read: %s", self._name, error)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled; that it cannot be kept is no reason to stop."""
        if self._folder is None or data.lifted or data.library.has_dynamic_globals:
            return
        path = self._path(sig, data.codegen)
        whole = path.with_suffix(f".{uuid4().hex}")
        try:
            # complete or not there at all, whatever other processes do
            whole.write_bytes(dumps((sig, data._reduce())))
            whole.replace(path)
        except OSError as error:
            log.info("compiled code of %s cannot be kept: %s", self._name, error)
            with suppress(OSError):
                whole.unlink()

    def _path(self, sig: Any, codegen: Any) -> Path:
        identity = f"{self._identity} {sig} {codegen.magic_tuple()}"
        name = self._name.removeprefix("dbm_gmx.").replace("<", "").replace(">", "")
        return cast(Path, self._folder) / f"{name}-{_digest(identity.encode())}.nbc"

    def enable(self) -> None:
        """Nothing to do."""

    def disable(self) -> None:
        """Nothing to do."""

    def flush(self) -> None:
        """Nothing to do."""


def _is_ours(function: Any) -> bool:
    """Whether the source of a function is part of the key, and all of it."""
    return function.__closure__ is None and Path(function.__code__.co_filename) in key_files()


@cache
def _say_once() -> None:
    log.warning("compiling for this machine: the first run takes a minute or two longer")


# --- where -----------------------------------------------------------------------------------------


@cache
def key_files() -> frozenset[Path]:
    """The files of :data:`SOURCES`."""
    found = [PACKAGE / name for name in SOURCES]
    return frozenset(path for one in found for path in ([one] if one.suffix else one.glob("*.py")))


@cache
def key() -> str:
    """A digest of all source that compiled code is made of, and of numba's version."""
    whole = [nb.__version__.encode()]
    for path in sorted(key_files()):
        whole += [str(path.relative_to(PACKAGE)).encode(), path.read_bytes()]
    return _digest(b"\0".join(whole))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:24]


@cache
def cache_folder() -> Path | None:
    """The first folder that can be used, made if need be; a warning and ``None`` if there is none."""
    for base in _bases():
        try:
            folder = _private(_private(base) / key())
            tempfile.TemporaryFile(dir=folder).close()
            return folder
        except OSError as error:
            log.info("compiled code is not kept in %s: %s", base, error)
    log.warning("no folder to keep compiled code in: every run compiles anew (set NUMBA_CACHE_DIR)")
    return None


def _bases() -> Iterator[Path]:
    """Where compiled code may be kept, best first."""
    if nb.config.CACHE_DIR:  # type: ignore[attr-defined]
        yield Path(nb.config.CACHE_DIR).absolute() / "dbm_gmx"  # type: ignore[attr-defined]
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    if xdg.startswith("/"):
        yield Path(xdg) / "dbm_gmx"
    with suppress(RuntimeError):  # a user without a home
        home = Path.home()
        if home.is_absolute() and home.is_dir():
            yield home / ".cache" / "dbm_gmx"
    yield Path(os.environ.get("TMPDIR", "/tmp")) / f"dbm_gmx-{os.getuid()}"


def _private(folder: Path) -> Path:
    """A folder of the user's own, made if need be.

    What is kept is run: who could write there could do anything in the user's name.

    Raises
    ------
    PermissionError
        If it belongs to somebody else, or others can write to it or put another one in its place.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    above, found = folder.parent.stat(), folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(f"{folder} is not a folder of this user's own")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"others can write to {folder}")
    if above.st_mode & stat.S_IWOTH and not above.st_mode & stat.S_ISVTX:
        raise PermissionError(f"others can put something else in place of {folder}")
    return folder
