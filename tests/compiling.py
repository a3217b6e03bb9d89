"""Compiling for tests whose programs take longer to compile than to run."""

from functools import partial

import jax

quick_jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
"""`jax.jit` with LLVM's optimizations off."""
