//! The interpreter on the build machine: how it is found, and what it says of itself.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

/// A CPython on this machine, in its own words.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interpreter {
    /// The interpreter the user meant: a virtualenv's python where there is one. Resolution runs with it.
    pub executable: PathBuf,
    /// The interpreter behind it, outside every virtualenv, symbolic links resolved: what is harvested.
    pub base_executable: PathBuf,
    /// `sys.version_info[:3]`.
    pub version: (u16, u16, u16),
    /// `platform.python_version()`: `3.13.0rc1` where `version` says `3.13.0`.
    pub full_version: String,
    /// `sys.implementation.name`.
    pub implementation: String,
    /// `sys.abiflags`: `t` for a free-threaded build, `d` for a debug build, else empty.
    pub abi_flags: String,
    /// `sys.base_prefix`.
    pub base_prefix: PathBuf,
    /// `sys.base_exec_prefix`.
    pub base_exec_prefix: PathBuf,
    /// `sysconfig`'s `stdlib`: the directory of `os.py`.
    pub stdlib: PathBuf,
    /// Where its extension modules are (`lib-dynload`), `sys.path`'s entry where it exists.
    pub dynload: Option<PathBuf>,
    /// The suffix of extension modules: `.cpython-312-x86_64-linux-gnu.so`.
    pub ext_suffix: String,
    /// `importlib.util.MAGIC_NUMBER` as hexadecimal digits: the first bytes of its byte code.
    pub magic: String,
    /// The C library it runs on, as (major, minor); `None` where it is not glibc.
    pub glibc: Option<(u16, u16)>,
    /// `platform.machine()`: `x86_64`, `aarch64`.
    pub machine: String,
    /// Whether `import pip` works in it.
    pub has_pip: bool,
    /// The environment markers of PEP 508, by name.
    pub markers: BTreeMap<String, String>,
}
