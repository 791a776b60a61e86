//! A program whose system calls fail when the test says so: it runs under ptrace(2), all its threads, up to the
//! moment it becomes another program.
//!
//! The launcher is static, so no library can be put before its system calls; a call that is to fail is turned into one
//! that does not exist when it is entered, and gets its error when it returns. Calls that nobody changes are made as
//! they are.

use std::ffi::c_void;
use std::fs::File;
use std::io::{self, Read};
use std::mem::{self, MaybeUninit};
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::ptr;

use super::Ran;

/// A system call that can go wrong: one that looks at files or changes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its name.
    pub name: &'static str,
    /// Whether it creates, changes, removes or locks something.
    pub writes: bool,
    /// The path it names, where it names one.
    pub path: String,
    /// Whether it moves bytes, and so can move fewer than it was asked to.
    pub counts: bool,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process is killed before anything happens.
    KillBefore,
    /// The process is killed when it has happened.
    KillAfter,
    /// Nothing happens, and this error is returned.
    Fails(i32),
    /// Half of the bytes are read or written.
    Short,
}

/// Why programs cannot be traced here; `None` if they can.
pub fn cannot_trace() -> Option<String> {
    if !cfg!(target_arch = "x86_64") {
        return Some("registers are read on x86-64 only".into());
    }
    let mut child = traced(Command::new("true"), false).stdout(Stdio::null()).spawn();
    match &mut child {
        Err(error) => Some(format!("no program can be traced: {error}")),
        Ok(child) => {
            let _ = child.kill();
            let _ = child.wait();
            None
        }
    }
}

/// Runs `command` to its end. `fault` is asked about every call, numbered from zero in the order they are made; on
/// `one_core` that order is the same each time.
pub fn run_with(
    command: Command,
    one_core: bool,
    mut fault: impl FnMut(usize, &Call) -> Option<Fault>,
) -> Ran {
    let mut command = traced(command, one_core);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    #[allow(clippy::zombie_processes, reason = "it is waited for as a traced process")]
    let mut child = command.spawn().expect("a program that can be traced");
    let pid = child.id().cast_signed();
    let status = Tracing { leader: pid, count: 0, fault: &mut fault, pending: Vec::new() }.follow();
    let text = |pipe: Option<&mut dyn Read>| {
        let mut bytes = Vec::new();
        pipe.expect("a pipe").read_to_end(&mut bytes).expect("a pipe can be read");
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let stdout = text(child.stdout.as_mut().map(|pipe| pipe as &mut dyn Read));
    let stderr = text(child.stderr.as_mut().map(|pipe| pipe as &mut dyn Read));
    Ran { pid: child.id(), status: ExitStatus::from_raw(status), stdout, stderr }
}

/// The command, to be traced by the thread that starts it.
fn traced(mut command: Command, one_core: bool) -> Command {
    let prepare = move || {
        if one_core {
            keep_to_one_core()?;
        }
        // SAFETY: it takes no pointers, and concerns this process alone.
        let traced = unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
        if traced < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    };
    // SAFETY: between fork and exec only system calls are made, no memory is allocated and no lock taken.
    unsafe { command.pre_exec(prepare) };
    command
}

fn keep_to_one_core() -> io::Result<()> {
    // SAFETY: a set of cores is plain bits, and all of them zero is an empty one; the calls get its size.
    let kept = unsafe {
        let mut all: libc::cpu_set_t = mem::zeroed();
        let mut one: libc::cpu_set_t = mem::zeroed();
        let size = mem::size_of::<libc::cpu_set_t>();
        libc::sched_getaffinity(0, size, &mut all);
        let first = (0..libc::CPU_SETSIZE as usize).find(|core| libc::CPU_ISSET(*core, &all));
        libc::CPU_SET(first.unwrap_or_default(), &mut one);
        libc::sched_setaffinity(0, size, &one)
    };
    if kept < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A call that has been entered, and what is to be done when it returns.
struct Pending {
    thread: i32,
    fault: Fault,
    /// The third argument as it was: the program relies on it being kept.
    third: u64,
}

struct Tracing<'a> {
    leader: i32,
    count: usize,
    fault: &'a mut dyn FnMut(usize, &Call) -> Option<Fault>,
    pending: Vec<Pending>,
}

impl Tracing<'_> {
    /// Follows all threads; returns how the process ended, as `wait(2)` says it.
    fn follow(mut self) -> i32 {
        let (_, status) = wait(self.leader);
        assert!(libc::WIFSTOPPED(status), "the program did not start: {status:#x}");
        let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_TRACECLONE | libc::PTRACE_O_TRACEEXEC;
        request(libc::PTRACE_SETOPTIONS, self.leader, (options | libc::PTRACE_O_EXITKILL) as usize);
        request(libc::PTRACE_SYSCALL, self.leader, 0);
        loop {
            let (thread, status) = wait(-1);
            if !libc::WIFSTOPPED(status) {
                if thread == self.leader {
                    return status;
                }
                continue;
            }
            let (signal, event) = (libc::WSTOPSIG(status), status >> 16);
            if event == libc::PTRACE_EVENT_EXEC {
                // What it has become is none of ours.
                request(libc::PTRACE_DETACH, thread, 0);
                return wait(self.leader).1;
            }
            let mut deliver = 0;
            if signal == libc::SIGTRAP | 0x80 {
                self.at_call(thread);
            } else if event == 0 && signal != libc::SIGSTOP && signal != libc::SIGTRAP {
                deliver = signal as usize;
            }
            request(libc::PTRACE_SYSCALL, thread, deliver);
        }
    }

    /// A thread has stopped where a call begins or ends.
    fn at_call(&mut self, thread: i32) {
        let Some(mut registers) = registers(thread) else { return };
        if !is_entry(thread) {
            if let Some(at) = self.pending.iter().position(|pending| pending.thread == thread) {
                let pending = self.pending.remove(at);
                match pending.fault {
                    Fault::KillBefore | Fault::KillAfter => kill(self.leader),
                    Fault::Fails(error) => registers.rax = i64::from(-error).cast_unsigned(),
                    Fault::Short => registers.rdx = pending.third,
                }
                set_registers(thread, &registers);
            }
            return;
        }
        let Some(call) = Call::read(thread, &registers) else { return };
        let number = self.count;
        self.count += 1;
        let Some(fault) = (self.fault)(number, &call) else { return };
        self.pending.push(Pending { thread, fault, third: registers.rdx });
        match fault {
            Fault::KillAfter => return,
            Fault::KillBefore | Fault::Fails(_) => registers.orig_rax = u64::MAX,
            Fault::Short => registers.rdx = registers.rdx.div_ceil(2),
        }
        set_registers(thread, &registers);
        if fault == Fault::KillBefore {
            kill(self.leader);
        }
    }
}

impl Call {
    fn read(thread: i32, registers: &libc::user_regs_struct) -> Option<Call> {
        let changes = libc::O_CREAT | libc::O_WRONLY | libc::O_RDWR | libc::O_TRUNC;
        let opens = |flags: u64| flags & changes as u64 != 0;
        // What goes to the user's terminal is no matter of the cache.
        let to_file = registers.rdi > 2;
        let (first, second) = (Some(registers.rdi), Some(registers.rsi));
        let (name, writes, path) = match registers.orig_rax.cast_signed() {
            libc::SYS_open => ("open", opens(registers.rsi), first),
            libc::SYS_openat => ("openat", opens(registers.rdx), second),
            libc::SYS_write if to_file => ("write", true, None),
            libc::SYS_pwrite64 => ("pwrite64", true, None),
            libc::SYS_writev if to_file => ("writev", true, None),
            libc::SYS_mkdir => ("mkdir", true, first),
            libc::SYS_mkdirat => ("mkdirat", true, second),
            libc::SYS_rmdir => ("rmdir", true, first),
            libc::SYS_unlink => ("unlink", true, first),
            libc::SYS_unlinkat => ("unlinkat", true, second),
            libc::SYS_rename => ("rename", true, first),
            libc::SYS_renameat => ("renameat", true, second),
            libc::SYS_renameat2 => ("renameat2", true, second),
            libc::SYS_link => ("link", true, first),
            libc::SYS_linkat => ("linkat", true, second),
            libc::SYS_symlink => ("symlink", true, second),
            libc::SYS_symlinkat => ("symlinkat", true, Some(registers.rdx)),
            libc::SYS_fsync => ("fsync", true, None),
            libc::SYS_fdatasync => ("fdatasync", true, None),
            libc::SYS_ftruncate => ("ftruncate", true, None),
            libc::SYS_fallocate => ("fallocate", true, None),
            libc::SYS_copy_file_range => ("copy_file_range", true, None),
            libc::SYS_sendfile => ("sendfile", true, None),
            libc::SYS_chmod => ("chmod", true, first),
            libc::SYS_fchmod => ("fchmod", true, None),
            libc::SYS_fchmodat => ("fchmodat", true, second),
            libc::SYS_utimensat => ("utimensat", true, second),
            libc::SYS_flock => ("flock", true, None),
            libc::SYS_read => ("read", false, None),
            libc::SYS_pread64 => ("pread64", false, None),
            libc::SYS_getdents64 => ("getdents64", false, None),
            libc::SYS_stat => ("stat", false, first),
            libc::SYS_lstat => ("lstat", false, first),
            libc::SYS_fstat => ("fstat", false, None),
            libc::SYS_newfstatat => ("newfstatat", false, second),
            libc::SYS_statx => ("statx", false, second),
            libc::SYS_statfs => ("statfs", false, first),
            libc::SYS_fstatfs => ("fstatfs", false, None),
            libc::SYS_readlink => ("readlink", false, first),
            libc::SYS_readlinkat => ("readlinkat", false, second),
            libc::SYS_access => ("access", false, first),
            libc::SYS_execve => ("execve", false, first),
            libc::SYS_clone => ("clone", false, None),
            libc::SYS_clone3 => ("clone3", false, None),
            _ => return None,
        };
        let path = path.and_then(|at| text(thread, at)).unwrap_or_default();
        let counts = ["read", "write", "pread64", "pwrite64"].contains(&name) && registers.rdx > 1;
        Some(Call { name, writes, path, counts })
    }
}

/// The text at this address of a traced thread.
fn text(thread: i32, address: u64) -> Option<String> {
    let memory = File::open(format!("/proc/{thread}/mem")).ok()?;
    let mut bytes = vec![0; 4096];
    let length = memory.read_at(&mut bytes, address).ok()?;
    let end = bytes[..length].iter().position(|byte| *byte == 0)?;
    Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
}

/// Waits for a child of this thread: other threads have their own.
fn wait(pid: i32) -> (i32, i32) {
    loop {
        let mut status = 0;
        // SAFETY: the status is written to a variable that outlives the call.
        let found = unsafe { libc::waitpid(pid, &mut status, libc::__WALL | libc::__WNOTHREAD) };
        if found > 0 {
            return (found, status);
        }
        let error = io::Error::last_os_error();
        assert_eq!(error.kind(), io::ErrorKind::Interrupted, "a child can be waited for: {error}");
    }
}

/// Asks something of a stopped thread; one that was killed meanwhile does not answer.
fn request(request: libc::c_uint, thread: i32, word: usize) {
    // SAFETY: the requests made here take a number and no pointer.
    unsafe { libc::ptrace(request, thread, ptr::null_mut::<c_void>(), word) };
}

fn registers(thread: i32) -> Option<libc::user_regs_struct> {
    let mut registers = MaybeUninit::<libc::user_regs_struct>::uninit();
    // SAFETY: the kernel fills all of the structure, or returns an error.
    unsafe {
        let got =
            libc::ptrace(libc::PTRACE_GETREGS, thread, ptr::null_mut::<c_void>(), registers.as_mut_ptr());
        (got == 0).then(|| registers.assume_init())
    }
}

fn set_registers(thread: i32, registers: &libc::user_regs_struct) {
    // SAFETY: the kernel only reads the structure.
    unsafe {
        libc::ptrace(libc::PTRACE_SETREGS, thread, ptr::null_mut::<c_void>(), ptr::from_ref(registers))
    };
}

/// Whether a thread that stopped at a call has still to make it.
fn is_entry(thread: i32) -> bool {
    let mut info = MaybeUninit::<libc::ptrace_syscall_info>::zeroed();
    let size = mem::size_of::<libc::ptrace_syscall_info>();
    // SAFETY: the kernel writes at most `size` bytes, and all-zero is a value of the structure.
    unsafe {
        libc::ptrace(libc::PTRACE_GET_SYSCALL_INFO, thread, size, info.as_mut_ptr());
        info.assume_init().op == libc::PTRACE_SYSCALL_INFO_ENTRY
    }
}

fn kill(process: i32) {
    // SAFETY: a signal to a child that has not been waited for, so that the number is still its own.
    unsafe { libc::kill(process, libc::SIGKILL) };
}
