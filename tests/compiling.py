"""Compiling quickly, as the tests do anyway (see `conftest`), or as users do."""

from functools import partial

import jax

quick_jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
"""`jax.jit` with LLVM's optimizations off."""

AS_USERS_DO = {"xla_cpu_use_fusion_emitters": True, "xla_backend_optimization_level": 3}
"""XLA's defaults: for what is compiled to see what becomes of it, and for what takes longer to run than to compile."""
