"""Calls: binding arguments, tracing through helpers, and finding the binding of library functions.

In: a function (of the traced program, of Python, or of a library) and abstract arguments. Out: its abstract result.
Functions written in Python are traced through; functions of NumPy, math and Python itself are looked up in the
binding tables; anything else is refused by name.
"""

from __future__ import annotations

import ast
import builtins
import dataclasses
import difflib
import functools
import inspect
import sysconfig
import types
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from ..ir.errors import AdjitError
from . import fence, source, views
from .context import DEAD, Tracer
from .control import block
from .joins import make_tuple
from .numeric import counted, describe
from .scope import Frame, scope_of
from .source import FunctionCode
from .values import (
    UNDEFINED,
    BoundMethod,
    ClassMethodOf,
    DictObject,
    FunctionValue,
    Host,
    Instance,
    ListObject,
    Maybe,
    Number,
    Partial,
    Poison,
    Reference,
)

__all__ = ["call", "call_function"]

MAX_DEPTH = 120
STANDARD_LIBRARY = sysconfig.get_path("stdlib")
MAX_SAME = 64


def call(t: Tracer, function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Call anything that can be called."""
    if isinstance(function, FunctionValue):
        return call_value(t, function, list(args), kwargs)
    if isinstance(function, BoundMethod):
        return call(t, function.function, [function.self, *args], kwargs)
    if isinstance(function, ClassMethodOf):
        from . import bind_methods

        return bind_methods.call_method(t, function.self, function.name, list(args), kwargs)
    if isinstance(function, Partial):
        return call(t, function.function, [*function.args, *args], {**function.kwargs, **kwargs})
    if isinstance(function, Host):
        from . import attributes

        cls = type(function.value)
        if cls.__module__.split(".")[0] == "numba":
            return call_static(t, function.value, list(args), kwargs)
        method = attributes.guard_class(t, cls, "__call__")
        if inspect.isfunction(method):
            return call(t, method, [function, *args], kwargs)
        t.type_error(f"an object of class {cls.__name__} cannot be called")
    if isinstance(function, Instance):
        from . import attributes

        return call(t, attributes.instance_attribute(t, function, "__call__"), args, kwargs)
    return call_static(t, function, list(args), kwargs)


def binding_of(function: Any) -> Any:
    from .bindings import TABLE, enter_imported

    try:
        found = TABLE.get(function)
    except TypeError:  # not hashable
        return None
    return TABLE.get(function) if found is None and enter_imported() else found


def call_static(t: Tracer, function: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Call an object that is not of the traced program's making."""
    made = None if isinstance(function, type) else getattr(function, "__adjit_derivative__", None)
    if made is not None:
        from .derivatives import call_derivative

        return call_derivative(t, made, args, kwargs)
    binding = binding_of(function)
    marker = getattr(function, "__adjit_binding__", None)
    if binding is None and isinstance(marker, str):
        from .bindings import MARKED

        binding = MARKED.get(marker)
    if binding is not None:
        return call_binding(t, function, binding, args, kwargs)
    if isinstance(function, np.vectorize):
        from .bind_apply import call_vectorize_object

        return call_vectorize_object(t, function, args, kwargs)
    if isinstance(function, functools.partial):
        return call_partial(t, function, args, kwargs)
    if hasattr(function, "py_func"):  # a Numba dispatcher
        return call(t, function.py_func, args, kwargs)
    if type(function).__module__.split(".")[0] == "numba":  # what its other decorators make
        from .bind_numba import call_numba_object

        return call_numba_object(t, function, args, kwargs)
    if getattr(function, "__adjit_inline__", False):
        return call(t, function.__wrapped__, args, kwargs)
    if isinstance(function, types.MethodType):
        owner = function.__self__
        if isinstance(owner, type):
            return call(t, function.__func__, [owner, *args], kwargs)
        host = t.captures.found(owner, lambda: function.__self__, "self", ("object", id(owner)))
        return call(t, function.__func__, [host, *args], kwargs)
    if isinstance(function, types.FunctionType):
        return call_python(t, function, args, kwargs)
    if isinstance(function, type):
        return construct(t, function, args, kwargs)
    method = inspect.getattr_static(type(function), "__call__", None)
    if isinstance(method, types.FunctionType):  # an object that is called: a model, say
        host = t.captures.found(function, lambda: function, "self", ("object", id(function)))
        return call(t, method, [host, *args], kwargs)
    if isinstance(function, functools._lru_cache_wrapper):
        return call(t, function.__wrapped__, args, kwargs)
    static = all(is_static(x) for x in (*args, *kwargs.values()))
    if static and callable(function) and is_pure(function):
        try:
            with np.errstate(all="ignore"):
                result = function(*(to_python(t, a) for a in args), **{k: to_python(t, v) for k, v in kwargs.items()})
        except Exception as error:
            if any(type(x).__module__.startswith(__package__) for x in (*args, *kwargs.values())):
                refuse(t, function)  # what stands for a generator here is no argument of NumPy's
            t.type_error(f"{name_of(function)}: {error}")
        return constant_array(t, result, function) if isinstance(result, np.ndarray) else result
    refuse(t, function)


def constant_array(t: Tracer, value: np.ndarray[Any, Any], function: Any) -> Any:
    """An array that was computed while tracing, as the array of its elements."""
    from .bind_create import new_array
    from .bind_shape import reshape

    if value.size > 64 or value.dtype.kind not in "biuf":
        t.unsupported(
            f"the result of `{name_of(function)}` is an array that is computed while tracing",
            "compute it outside of the function, as a constant of the module or an argument",
        )
    return reshape(t, new_array(t, tuple(value.ravel().tolist()), value.dtype), value.shape)


def call_partial(t: Tracer, function: functools.partial[Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
    """A functools.partial of the caller's: what it holds is read at call time."""

    def positional(k: int) -> Any:
        key = ("partial", id(function), k)
        return t.captures.found(function.args[k], lambda: function.args[k], f"argument {k} of a partial", key)

    def named(k: str) -> Any:
        key = ("partial", id(function), k)
        return t.captures.found(function.keywords[k], lambda: function.keywords[k], f"argument `{k}` of a partial", key)

    made = [positional(k) for k in range(len(function.args))]
    return call(t, function.func, [*made, *args], {**{k: named(k) for k in function.keywords}, **kwargs})


def is_static(x: Any) -> bool:
    if isinstance(x, tuple):
        return all(is_static(v) for v in x)
    return not isinstance(
        x, Number | Reference | ListObject | DictObject | Instance | Host | FunctionValue | BoundMethod | Partial
    )


def to_python(t: Tracer, x: Any) -> Any:
    return x


PURE_MODULES = ("numpy", "math", "builtins", "operator", "_operator", "itertools")


def is_pure(function: Any) -> bool:
    """Library functions that may be called while tracing, on static arguments."""
    if isinstance(function, types.BuiltinFunctionType | types.MethodType | types.BuiltinMethodType):
        owner = getattr(function, "__self__", None)
        if isinstance(owner, str | bytes | int | float | tuple | frozenset | np.dtype | np.generic | range):
            return True
    module = getattr(function, "__module__", None) or ""
    name = getattr(function, "__name__", "")
    if name in (
        "print",
        "input",
        "open",
        "exec",
        "eval",
        "setattr",
        "delattr",
        "globals",
        "locals",
        "vars",
        "__import__",
    ):
        return False
    return module in PURE_MODULES or isinstance(function, np.ufunc)


def name_of(function: Any) -> str:
    """A function's name as users write it."""
    module = getattr(function, "__module__", None) or ""
    name = getattr(function, "__qualname__", None) or getattr(function, "__name__", None) or repr(function)
    owner = getattr(function, "__self__", None)
    if isinstance(function, np.ufunc):
        own = getattr(np, function.__name__, None) is function
        return f"{'np' if own else 'scipy.special'}.{function.__name__}"
    if getattr(builtins, name, None) is function:
        return str(name)
    if owner is not None and type(owner).__module__.split(".")[0] in ("random", "numpy"):
        return f"{'np.' if 'numpy' in type(owner).__module__ else ''}random.{function.__name__}"
    if module.split(".")[0] == "numpy":
        public = [part for part in module.split(".")[1:] if not part.startswith("_") and part != "lib"]
        return ".".join(["np", *public, name])
    return f"{module}.{name}" if module else str(name)


def refuse(t: Tracer, function: Any) -> Any:
    from .bindings import NAMES

    name = name_of(function)
    if name.startswith(("np.random", "random.")):
        t.unsupported(f"`{name}` draws random numbers", "draw them before the call and pass them in as arguments")
    close = difflib.get_close_matches(name, NAMES, n=2, cutoff=0.8)
    hint = f"did you mean {' or '.join('`' + c + '`' for c in close)}? Otherwise " if close else ""
    if not callable(function):
        t.type_error(f"{describe(function)} cannot be called")
    t.unsupported(
        f"`{name}` is not known to adjit, and its source is not Python",
        f"{hint}write it with NumPy functions that are known, or compute it outside and pass the result in",
    )


def call_binding(t: Tracer, function: Any, binding: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Call a binding; arguments that it does not take are refused by name."""
    args = [Number(views.read(t, a)) if isinstance(a, Reference) and a.rank == 0 else a for a in args]
    try:
        parameters = SIGNATURES.get(binding)
        if parameters is None:
            parameters = SIGNATURES[binding] = inspect.signature(binding)
        for name in [k for k, v in kwargs.items() if k in DEFAULTS and v in DEFAULTS[k]]:
            if name not in parameters.parameters:
                del kwargs[name]
        parameters.bind(t, *args, **kwargs)
    except TypeError as error:
        known = [p for p in SIGNATURES[binding].parameters if p != "t"] if binding in SIGNATURES else []
        extra = [k for k in kwargs if k not in known]
        if extra:
            t.unsupported(
                f"`{name_of(function)}` with the argument `{extra[0]}` is not supported",
                f"the arguments known are: {', '.join(known)}",
            )
        t.type_error(f"{name_of(function)}: {error}")
    return binding(t, *args, **kwargs)


SIGNATURES: dict[Any, inspect.Signature] = {}

DEFAULTS: dict[str, tuple[Any, ...]] = {"device": (None, "cpu"), "like": (None,), "subok": (True, False)}
"""Arguments of NumPy's functions that change nothing when they have these values."""


# ---------------------------------------------------------------- functions written in Python


def call_python(t: Tracer, function: types.FunctionType, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Trace through a function. A refusal inside of a library says which of the user's lines called it."""
    caller = t.span()
    try:
        return call_traced(t, function, args, kwargs)
    except AdjitError as error:
        if caller is not None and in_library(function.__code__.co_filename) and not in_library(caller.file):
            error.caller = caller
        raise


def in_library(file: str) -> bool:
    return "site-packages" in file or "dist-packages" in file or file.startswith(STANDARD_LIBRARY)


def call_traced(t: Tracer, function: types.FunctionType, args: list[Any], kwargs: dict[str, Any]) -> Any:
    code = source_of(t, function)
    t.captures.code(function)
    scope = scope_of(code)
    frame = Frame(
        code,
        scope,
        None,
        function.__globals__,
        dict(zip(function.__code__.co_freevars, function.__closure__ or ())),
        path_here(t),
        t.region,
        code.file,
        function=function,
    )
    given = function.__defaults__ or ()
    named = function.__kwdefaults__ or {}
    places = [k - len(given) for k in range(len(given))]  # from the end, as parameters have them
    defaults = tuple(default_value(t, function, v, partial(default_at, function, k), k) for k, v in zip(places, given))
    keyword = {k: default_value(t, function, v, partial(default_at, function, k), k) for k, v in named.items()}
    return call_function(t, frame, defaults, keyword, args, kwargs)


def default_at(function: types.FunctionType, key: int | str) -> Any:
    return (function.__defaults__ or ())[key] if isinstance(key, int) else (function.__kwdefaults__ or {})[key]


def default_value(t: Tracer, function: Any, value: Any, read: Any, key: Any) -> Any:
    """The default of a parameter: static numbers are taken as they are (and guarded)."""
    if type(value) is float:
        if ("default", id(function), key) not in t.captures.known:
            t.captures.known["default", id(function), key] = value
            key = ("default", id(function), key)
            t.captures.guard(read, value, f"a default of {function.__name__}", key=key)
        return value
    return t.captures.found(value, read, f"a default of {function.__name__}", ("default", id(function), key))


def source_of(t: Tracer, function: types.FunctionType) -> FunctionCode:
    from ..ir.errors import UnsupportedError

    flags = function.__code__.co_flags
    if flags & (inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR):
        pass  # the fence says so, with the line
    try:
        code = source.find(function)
    except UnsupportedError as error:
        if error.span is None:
            error.span = t.span()
        raise
    t.sources[id(code)] = code
    fence.check(code)
    return code


def path_here(t: Tracer) -> tuple[Any, ...]:
    base = t.frame.path if t.frame is not None else ()
    return (*base, id(t.node))


def call_value(t: Tracer, function: FunctionValue, args: list[Any], kwargs: dict[str, Any]) -> Any:
    parent = function.frame
    frame = Frame(
        function.code,
        scope_of(function.code),
        parent,
        parent.globals,
        parent.cells,
        path_here(t),
        t.region,
        parent.file,
    )
    return call_function(t, frame, function.defaults, function.keyword_defaults, args, kwargs)


def call_function(
    t: Tracer,
    frame: Frame,
    defaults: tuple[Any, ...],
    keyword_defaults: dict[str, Any],
    args: Sequence[Any],
    kwargs: dict[str, Any],
) -> Any:
    """Trace a function's body with arguments bound to its parameters; returns its result."""
    if t.depth >= MAX_DEPTH or count_active(t, frame.code) >= MAX_SAME:
        t.unsupported(
            f"`{frame.code.name}` calls itself to a depth that is not known before the program runs",
            "write the recursion as a loop; a recursion is traced only where a static argument ends it",
        )
    bind_parameters(t, frame, defaults, keyword_defaults, args, kwargs)
    saved_frame, saved_file, saved_node = t.frame, t.file, t.node
    t.frame, t.file = frame, frame.file
    t.depth += 1
    try:
        block(t, frame.code.body)
        result = finish(t, frame)
    finally:
        t.depth -= 1
        t.frame, t.file, t.node = saved_frame, saved_file, saved_node
    if not keeps_frame(frame):
        for key in [k for k in t.store if isinstance(k, tuple) and k[0] is frame]:
            del t.store[key]
    return result


def keeps_frame(frame: Frame) -> bool:
    """Whether functions made inside may outlive the call and read its names."""
    return bool(frame.scope.captured) or any(
        isinstance(n, ast.GeneratorExp) for s in frame.code.body for n in ast.walk(s)
    )


def count_active(t: Tracer, code: FunctionCode) -> int:
    count, frame = 0, t.frame
    seen = 0
    while frame is not None and seen < MAX_DEPTH:
        count += frame.code is code
        frame = frame.caller
        seen += 1
    return count


def finish(t: Tracer, frame: Frame) -> Any:
    """The result of a function whose body has been traced."""
    returned = t.store.get((frame, "<returned>"), False)
    result = t.store.get((frame, "<result>"), UNDEFINED)
    if t.store.get(DEAD) is True:
        return None
    if returned is False:
        return None
    if isinstance(result, Poison):
        t.node = frame.code.node
        t.type_error(
            f"`{frame.code.name}` returns different kinds of values on different paths ("
            + result.message.replace("`result`", "the result")
            + ")",
            "return the same structure, with arrays of the same rank and dtype, on every path",
        )
    if isinstance(returned, Number):
        if result is None:
            return None
        t.node = frame.code.node
        t.unsupported(
            f"`{frame.code.name}` returns a value on some paths and nothing on others",
            "end the function with a `return` of the same kind of value (or with `raise`)",
        )
    while isinstance(result, Maybe):
        result = result.value
    return result


def bind_parameters(
    t: Tracer,
    frame: Frame,
    defaults: tuple[Any, ...],
    keyword_defaults: dict[str, Any],
    args: Sequence[Any],
    kwargs: dict[str, Any],
) -> None:
    """Bind arguments to parameters as Python does."""
    a = frame.code.node.args
    name = frame.code.name
    positional = [*a.posonlyargs, *a.args]
    given: dict[str, Any] = {}
    for parameter, value in zip(positional, args):
        given[parameter.arg] = value
    if len(args) > len(positional):
        if a.vararg is None:
            t.type_error(f"{name}() takes {counted(len(positional), 'argument')}, {len(args)} were given")
        given[a.vararg.arg] = tuple(args[len(positional) :])
    elif a.vararg is not None:
        given[a.vararg.arg] = ()
    by_name = {p.arg for p in (*a.args, *a.kwonlyargs)}
    extra: dict[str, Any] = {}
    for key, value in kwargs.items():
        if key in by_name:
            if key in given:
                t.type_error(f"{name}() got two values for `{key}`")
            given[key] = value
        elif a.kwarg is not None:
            extra[key] = value
        else:
            t.type_error(f"{name}() has no parameter `{key}`")
    if a.kwarg is not None:
        given[a.kwarg.arg] = t.new_dict(extra.items())
    offset = len(positional) - len(defaults)
    for k, parameter in enumerate(positional):
        if parameter.arg not in given:
            if k < offset:
                t.type_error(f"{name}() needs a value for `{parameter.arg}`")
            given[parameter.arg] = defaults[k - offset]
    for parameter in a.kwonlyargs:
        if parameter.arg not in given:
            if parameter.arg not in keyword_defaults:
                t.type_error(f"{name}() needs a value for `{parameter.arg}`")
            given[parameter.arg] = keyword_defaults[parameter.arg]
    frame.caller = t.frame
    for key, value in given.items():
        if isinstance(value, Number) and value.array:
            from .expressions import check_zero_d

            check_zero_d(t, frame, key, value)
        t.store[frame, key] = value


# ---------------------------------------------------------------- classes


def construct(t: Tracer, cls: type, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """An object of a user's class: NamedTuples, dataclasses, and classes with an `__init__` in Python."""
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        fields = cls._fields
        values = dict(zip(fields, args))
        values.update(kwargs)
        for field_name, value in getattr(cls, "_field_defaults", {}).items():
            values.setdefault(field_name, value)
        if set(values) != set(fields) or len(args) > len(fields):
            t.type_error(f"{cls.__name__} takes the fields {', '.join(fields)}")
        return make_tuple(cls, [values[f] for f in fields])
    if issubclass(cls, BaseException):
        t.unsupported("an exception object is used as a value", "raise it")
    static = all(is_static(x) for x in (*args, *kwargs.values()))
    if cls.__module__.split(".")[0] in ("numpy", "builtins", "fractions", "decimal") or issubclass(cls, np.generic):
        if static and cls.__module__.split(".")[0] in ("numpy", "builtins"):
            try:
                return cls(*args, **kwargs)
            except Exception as error:
                t.type_error(f"{cls.__name__}: {error}")
        refuse(t, cls)
    instance = Instance(cls, (), t.region, t.birth())
    if dataclasses.is_dataclass(cls):
        return construct_dataclass(t, cls, instance, args, kwargs)
    init = getattr(cls, "__init__", None)
    if inspect.isfunction(init):
        call(t, init, [instance, *args], kwargs)
        return instance
    if init is object.__init__ and not args and not kwargs:
        return instance
    return refuse(t, cls)


def field_default(t: Tracer, cls: type, f: dataclasses.Field[Any]) -> Any:
    return t.captures.found(f.default, lambda: f.default, f"{cls.__name__}.{f.name}", ("field", id(cls), f.name))


def construct_dataclass(t: Tracer, cls: type, instance: Instance, args: list[Any], kwargs: dict[str, Any]) -> Instance:
    fields = [f for f in dataclasses.fields(cls) if f.init]
    values: dict[str, Any] = dict(zip([f.name for f in fields], args))
    values.update(kwargs)
    for f in dataclasses.fields(cls):
        if f.name not in values:
            if f.default is not dataclasses.MISSING:
                values[f.name] = field_default(t, cls, f)
            elif f.default_factory is not dataclasses.MISSING:
                values[f.name] = (
                    call(t, f.default_factory, [], {})
                    if f.default_factory not in (list, dict)
                    else (t.new_list(()) if f.default_factory is list else t.new_dict(()))
                )
            elif f.init:
                t.type_error(f"{cls.__name__} needs a value for `{f.name}`")
    unknown = set(values) - {f.name for f in dataclasses.fields(cls)}
    if unknown or len(args) > len(fields):
        t.type_error(f"{cls.__name__} has no field `{min(unknown, default='')}`")
    t.store[instance] = tuple(values.items())
    if hasattr(cls, "__post_init__"):
        call(t, cls.__post_init__, [instance], {})
    return instance
