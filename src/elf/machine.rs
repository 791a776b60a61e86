//! The machines a bundle can be for, and what is called differently on each: the one table.

use object::elf;

/// One machine.
#[derive(Debug, PartialEq, Eq)]
pub struct Machine {
    /// `platform.machine()`, `uname -m`.
    pub name: &'static str,
    /// The OCI image specification's word for it.
    pub oci: &'static str,
    /// `e_machine` in an ELF file's header.
    pub elf: elf::Machine,
    /// The file name of glibc's loader.
    pub loader: &'static str,
    /// The directory below `lib` that Debian and its kin keep libraries in.
    pub multiarch: &'static str,
    /// How `/etc/ld.so.cache` marks this machine's glibc libraries (glibc, `sysdeps/generic/ldconfig.h`).
    pub cache_flags: u32,
    /// The largest page a kernel for it uses, in bytes: segments begin at multiples of it.
    pub page: u64,
}

/// Every machine that is known.
pub static MACHINES: [Machine; 2] = [
    Machine {
        name: "x86_64",
        oci: "amd64",
        elf: elf::EM_X86_64,
        loader: "ld-linux-x86-64.so.2",
        multiarch: "x86_64-linux-gnu",
        cache_flags: 0x0303,
        page: 0x1000,
    },
    Machine {
        name: "aarch64",
        oci: "arm64",
        elf: elf::EM_AARCH64,
        loader: "ld-linux-aarch64.so.1",
        multiarch: "aarch64-linux-gnu",
        cache_flags: 0x0a03,
        page: 0x1_0000,
    },
];

impl Machine {
    /// The one that coil itself runs on, which is the one it packs for.
    pub fn here() -> Option<&'static Machine> {
        MACHINES.iter().find(|machine| machine.name == std::env::consts::ARCH)
    }

    /// The machine with this `e_machine`.
    pub fn of(elf: elf::Machine) -> Option<&'static Machine> {
        MACHINES.iter().find(|machine| machine.elf == elf)
    }
}
