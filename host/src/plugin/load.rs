//! Mapping a staged copy, checking it against the contract, and the abi_stable contract as [`Driver`] and [`Source`].
//!
//! Every `unsafe` of the host is here.
#![allow(unsafe_code, reason = "foreign code is mapped here")]

use super::driver::{Call, CallError, Driver, HostCalls, Source};
use super::marker;
use busway_plugin_api::abi::abi_stable::library::AbiHeaderRef;
use busway_plugin_api::abi::abi_stable::sabi_trait::TD_Opaque;
use busway_plugin_api::abi::abi_stable::std_types::RStr;
use busway_plugin_api::abi::object::Host_TO;
use busway_plugin_api::abi::{
    ArrowArray, Host, HostObject, Incompatible, ModuleRef, ROOT_SYMBOL, RawArray, Reply, SourceObject, Status,
    TableUpdate, root_module,
};
use busway_plugin_api::info::{DriverInfo, TableInfo};
use busway_plugin_api::message::{
    AttachRequest, CallHead, CancelRequest, ErrorBody, ExecuteRequest, Headed, LogFilterRequest, OpenRequest,
    PollRequest, SelfTestRequest, StateBody, StatusRequest, SubscribedRequest, UpdateHeader, WebhookRequest, decode,
    encode, failure, success,
};
use busway_plugin_api::table::{CONTRADICTION, Change, Update};
use libc::{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, c_int, c_void, dl_phdr_info, iovec, ucontext_t};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::io;
use std::mem::zeroed;
use std::ops::Range;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};

/// Why a staged copy did not become a driver.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The system's loader refused it.
    #[error("the system's loader refused it: {0}")]
    Map(String),
    /// It exports no root module.
    #[error("it exports no Busway module (symbol {ROOT_SYMBOL}): export one with export_driver!")]
    Symbol,
    /// It does not fit this host's contract.
    #[error(transparent)]
    Incompatible(#[from] Incompatible),
}

/// Maps a staged copy and checks it. The copy stays mapped for the life of the process.
///
/// # Errors
///
/// When it can't be mapped, or does not fit the contract.
pub fn load(path: &Path) -> Result<Arc<dyn Driver>, LoadError> {
    // SAFETY: this runs the library's constructors, which is what loading a driver means; its bytes were checked to be a
    // well-formed object file before, and the copy is the host's own, so nobody changes it while it is mapped.
    // RTLD_NOW: a missing symbol is found here, not at some call.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
    let library = library.map_err(|e| LoadError::Map(reason(&e)))?;
    let symbol = format!("{ROOT_SYMBOL}\0");
    // SAFETY: the symbol is by contract a `LibHeader`, whose beginning an `AbiHeaderRef` points to; what it says is
    // checked by `root_module` before anything else of it is used.
    let symbol = unsafe { library.get::<AbiHeaderRef>(symbol.as_bytes()) };
    let header = symbol.map(|symbol| (*symbol, symbol.as_raw_ptr().addr()));
    // Never unmapped: layouts, vtables and threads of it may live as long as the process.
    std::mem::forget(library);
    // SAFETY: the library stays mapped, see above.
    let (header, address) = header.map_err(|_| LoadError::Symbol)?;
    let code = code_around(address);
    // SAFETY: the library stays mapped, see above.
    let module = unsafe { root_module(header)? };
    Ok(Arc::new(AbiDriver { module, code }))
}

/// Where the code lies of the library that an address is in.
fn code_around(address: usize) -> Option<Range<usize>> {
    let mut sought = Sought { address, code: None };
    // SAFETY: the function fits the type, and what it is handed is this frame's, which nobody else has meanwhile.
    unsafe { libc::dl_iterate_phdr(Some(seek), (&raw mut sought).cast()) };
    sought.code
}

/// What [`seek`] is to find.
struct Sought {
    address: usize,
    code: Option<Range<usize>>,
}

/// Looks at one library that is mapped; anything but 0 ends the search.
unsafe extern "C" fn seek(library: *mut dl_phdr_info, _: usize, sought: *mut c_void) -> c_int {
    // SAFETY: the system hands over a valid struct that stays until this returns, and [`code_around`] the other.
    let (library, sought) = unsafe { (&*library, &mut *sought.cast::<Sought>()) };
    if library.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: the system's loader has mapped the table, of that length, as long as the library is; it changes for nobody.
    let segments = unsafe { std::slice::from_raw_parts(library.dlpi_phdr, library.dlpi_phnum.into()) };
    let place = |segment: &libc::Elf64_Phdr| {
        let begin = library.dlpi_addr.wrapping_add(segment.p_vaddr) as usize;
        begin..begin.saturating_add(segment.p_memsz as usize)
    };
    let mapped = || segments.iter().filter(|segment| segment.p_type == libc::PT_LOAD);
    if !mapped().any(|segment| place(segment).contains(&sought.address)) {
        return 0;
    }
    // A linker makes one such segment; of several, and what is between them, all is the library's.
    let code = mapped().filter(|segment| segment.p_flags & libc::PF_X != 0).map(place);
    sought.code = code.reduce(|one, other| one.start.min(other.start)..one.end.max(other.end));
    1
}

/// The loader's text without the staged path it begins with: the operator knows another one.
fn reason(error: &libloading::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    text.split_once(": ")
        .map_or(text.clone(), |(first, rest)| if first.contains('/') { rest.to_owned() } else { text.clone() })
}

/// From now on a signal of the host's own making (a crash, an abort) is written down before the host dies of it, with the calls
/// of drivers that are open on the thread, or the driver whose thread it is: each in its node's file, one line, `SIGNAL CALL`.
/// Once in a process's life.
pub(super) fn note_deaths() -> io::Result<()> {
    // SAFETY: it takes nothing and can't fail.
    let process = unsafe { libc::getpid() };
    if HOST.swap(process, Ordering::AcqRel) == process {
        return Ok(());
    }
    for (signal, former) in [SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT].into_iter().zip(&FORMER) {
        // SAFETY: zero is a value of every field of this C struct: no flags, an empty mask, the default handler.
        let (mut action, mut before): (libc::sigaction, libc::sigaction) = unsafe { (zeroed(), zeroed()) };
        action.sa_sigaction = note_death as extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) as usize;
        // On the thread's own signal stack, if it has one: its stack may be what overflowed. One at a time.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        // SAFETY: both point to structs of this frame, and the handler does only what a handler may, see there.
        if unsafe { libc::sigaction(signal, &raw const action, &raw mut before) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // What was there before is what the signal is left to in the end.
        let _ = former.set(before);
    }
    Ok(())
}

/// In which process they are.
static HOST: AtomicI32 = AtomicI32::new(0);
/// What was done about each signal before, in the order of [`note_deaths`].
static FORMER: [OnceLock<libc::sigaction>; 5] = [const { OnceLock::new() }; 5];

/// Runs in a signal handler: no allocation, no lock, no panic.
extern "C" fn note_death(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: with SA_SIGINFO the system gives a valid struct; of a signal that somebody sent it says who.
    let (sent, sender) = unsafe { ((*info).si_code <= 0, (*info).si_pid()) };
    // SAFETY: they take nothing and can't fail.
    let (thread, process) = unsafe { (libc::gettid().unsigned_abs(), libc::getpid()) };
    // Whom another process ends did nothing; and a child that a driver has forked is not the host.
    if process == HOST.load(Ordering::Acquire) && (!sent || sender == process) {
        let mut named = false;
        marker::each(thread, |file, call| {
            named = true;
            note(file, signal, call);
        });
        if let Some(code) = (!named).then(|| culprit(context)).flatten() {
            marker::whose(code, |file, call| note(file, signal, call));
        }
    }
    let index = [SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT].iter().position(|s| *s == signal);
    if let Some(former) = index.and_then(|index| FORMER[index].get()) {
        // SAFETY: the struct is what the system gave for this signal. When the handler returns, the instruction that
        // failed does so again, or the abort goes on, and that is dealt with as if this had never been.
        unsafe { libc::sigaction(signal, former, std::ptr::null_mut()) };
    }
    if sent {
        // SAFETY: allowed in a signal handler. What somebody sent, an abort too, does not come again by itself.
        unsafe { libc::raise(signal) };
    }
}

/// Writes a line. In a signal handler.
fn note(file: RawFd, signal: c_int, call: &[u8]) {
    let mut number = [b' '; 24];
    let at = digits(&mut number, 23, signal.unsigned_abs());
    let mut line = [b'\n'; marker::TEXT + 25];
    let length = number.len() - at + call.len() + 1;
    for (to, byte) in line.iter_mut().zip(number[at..].iter().chain(call)) {
        *to = *byte;
    }
    // SAFETY: the descriptor is a file's that is open as long as its node has its place, the bytes are this frame's and no
    // fewer than `length`, and `write` is allowed in a signal handler. What could not be written is not known later: nobody is
    // accused then.
    unsafe { libc::write(file, line.as_ptr().cast(), length.min(line.len())) };
}

/// So many bytes of a stack are searched. What a driver calls dies near to it.
const SEARCHED: usize = 64 << 10;
/// No page is smaller, so what lies between two multiples of it can be read, or not, as a whole.
const PAGE: usize = 4096;

/// An address in the code of the driver that brought this thread down, on which no call is open. In a signal handler.
fn culprit(context: *mut c_void) -> Option<usize> {
    let Registers { instruction, link, stack } = registers(context)?;
    if marker::is_drivers(instruction) {
        return Some(instruction);
    }
    // What such a thread's stack holds may be left over from a call that has ended.
    if marker::makes_calls() {
        return None;
    }
    let returns_to = |address: usize| {
        let mut before = [0; marker::BEFORE];
        let from = address.wrapping_sub(before.len());
        marker::is_drivers(address) && peek(from, &mut before) == before.len() && marker::is_call(before)
    };
    if link.is_some_and(returns_to) {
        return link;
    }
    let mut at = stack.next_multiple_of(size_of::<usize>());
    let end = at.saturating_add(SEARCHED);
    while at < end {
        let mut part = [0; 1024];
        let wanted = part.len().min(PAGE - at % PAGE);
        let read = peek(at, &mut part[..wanted]);
        let mut words = part[..read].chunks_exact(size_of::<usize>());
        let word = |bytes: &[u8]| bytes.try_into().map_or(0, usize::from_ne_bytes);
        if let Some(found) = words.by_ref().map(word).find(|word| returns_to(*word)) {
            return Some(found);
        }
        // Above the stack.
        if read < wanted {
            return None;
        }
        at += wanted;
    }
    None
}

/// Reads this process's memory; how much of it. What is not mapped, or may not be read, is not read. In a signal handler.
fn peek(address: usize, into: &mut [u8]) -> usize {
    let to = iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let from = iovec { iov_base: std::ptr::without_provenance_mut(address), iov_len: into.len() };
    // SAFETY: a plain system call, that of a thread that is stopped in a signal handler; it writes to `into` at most, and
    // answers an error where it can't read.
    let read = unsafe { libc::process_vm_readv(libc::getpid(), &raw const to, 1, &raw const from, 1, 0) };
    usize::try_from(read).unwrap_or_default()
}

/// Where a thread was stopped.
struct Registers {
    instruction: usize,
    /// Where the function returns to, if a register holds that.
    link: Option<usize>,
    stack: usize,
}

/// Those of the thread that a signal came to. `None`: nobody has said where they are on such a machine.
fn registers(context: *mut c_void) -> Option<Registers> {
    // SAFETY: with SA_SIGINFO the system gives a valid struct, which stays as long as the handler runs.
    let machine = unsafe { &(*context.cast::<ucontext_t>()).uc_mcontext };
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    {
        let of = |register: c_int| machine.gregs[register as usize] as usize;
        Some(Registers { instruction: of(libc::REG_RIP), link: None, stack: of(libc::REG_RSP) })
    }
    #[cfg(all(target_os = "linux", target_arch = "aarch64"))]
    {
        let [instruction, link, stack] = [machine.pc, machine.regs[30], machine.sp].map(|register| register as usize);
        Some(Registers { instruction, link: Some(link), stack })
    }
    #[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
    {
        let _ = machine;
        None
    }
}

/// Writes a number so that it ends before `end`; where it begins.
fn digits(text: &mut [u8; 24], end: usize, number: u32) -> usize {
    let (mut at, mut rest) = (end, number);
    loop {
        at -= 1;
        text[at] = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
        if rest == 0 {
            return at;
        }
    }
}

struct AbiDriver {
    module: ModuleRef,
    code: Option<Range<usize>>,
}

impl Driver for AbiDriver {
    fn code(&self) -> Option<Range<usize>> {
        self.code.clone()
    }

    fn describe(&self) -> Result<DriverInfo, CallError> {
        let request = json!({"host_contract": busway_plugin_api::abi::VERSION}).to_string();
        answer(&self.module.describe()(request.as_str().into()))
    }

    fn attach(&self, host: Arc<dyn HostCalls>, request: &AttachRequest) -> Result<(), CallError> {
        done(&self.module.attach()(object(host), encode(request).as_str().into()))
    }

    fn open(&self, request: &OpenRequest, host: Arc<dyn HostCalls>) -> Result<Arc<dyn Source>, CallError> {
        let opened = self.module.open()(encode(request).as_str().into(), object(host));
        done(&opened.reply)?;
        let source = opened.source.into_option();
        let source = source.ok_or_else(|| CallError::broken("open answered OK without a source"))?;
        Ok(Arc::new(AbiSource { source }))
    }

    fn set_log_filter(&self, filter: &str) -> Result<(), CallError> {
        let request = encode(&LogFilterRequest { filter: filter.to_owned() });
        done(&self.module.set_log_filter()(request.as_str().into()))
    }

    fn self_test(&self, request: &SelfTestRequest) -> Result<(), CallError> {
        done(&self.module.self_test()(encode(request).as_str().into()))
    }
}

/// The operation of a source's `control` that takes what a webhook was sent.
const WEBHOOK: &str = "webhook";

struct AbiSource {
    source: SourceObject,
}

/// A request that carries nothing of its own.
fn bare(head: CallHead) -> String {
    encode(&head)
}

fn headed<T: Serialize + Clone>(call: Call<'_, T>) -> String {
    encode(&Headed { head: call.head, body: call.body.clone() })
}

impl Source for AbiSource {
    fn tables(&self, head: CallHead) -> Result<Vec<TableInfo>, CallError> {
        answer(&self.source.tables(bare(head).as_str().into()))
    }

    fn poll(&self, call: Call<'_, PollRequest>) -> Result<Vec<Update>, CallError> {
        let polled = self.source.poll(headed(call).as_str().into());
        done(&polled.reply)?;
        Ok(polled.updates.into_iter().map(|update| import(traced(update))).collect())
    }

    fn subscribed(&self, call: Call<'_, SubscribedRequest>) -> Result<(), CallError> {
        done(&self.source.subscribed(headed(call).as_str().into()))
    }

    fn webhook(&self, call: Call<'_, WebhookRequest>) -> Result<Vec<String>, CallError> {
        answer(&self.source.control(WEBHOOK.into(), headed(call).as_str().into()))
    }

    fn execute(&self, call: Call<'_, ExecuteRequest>) -> Result<Value, CallError> {
        answer(&self.source.execute(headed(call).as_str().into()))
    }

    fn pause(&self, head: CallHead) -> Result<(), CallError> {
        done(&self.source.pause(bare(head).as_str().into()))
    }

    fn resume(&self, head: CallHead) -> Result<(), CallError> {
        done(&self.source.resume(bare(head).as_str().into()))
    }

    fn activate(&self, head: CallHead) -> Result<(), CallError> {
        done(&self.source.activate(bare(head).as_str().into()))
    }

    fn export_state(&self, head: CallHead) -> Result<Option<StateBody>, CallError> {
        answer(&self.source.export_state(bare(head).as_str().into()))
    }

    fn import_state(&self, call: Call<'_, StateBody>) -> Result<(), CallError> {
        done(&self.source.import_state(headed(call).as_str().into()))
    }

    fn cancel(&self, calls: Option<&[u64]>) {
        let request = encode(&CancelRequest { calls: calls.map(<[u64]>::to_vec) });
        // Whether it could is seen by the call's end.
        let _ = self.source.cancel(request.as_str().into());
    }

    fn close(&self, head: CallHead) -> Result<(), CallError> {
        done(&self.source.close(bare(head).as_str().into()))
    }
}

/// Whoever lets go of a polled batch runs the driver's code, which leaves traces on the stack of a thread that is the host's:
/// from then on that is known of it. What is published is let go of on the driver's own thread.
fn traced(mut update: TableUpdate) -> TableUpdate {
    for part in &mut update.parts {
        part.batches = std::mem::take(&mut part.batches).into_iter().map(traced_array).collect();
    }
    update
}

fn traced_array(array: ArrowArray) -> ArrowArray {
    if array.as_raw().release.is_none() {
        return array;
    }
    let outer = RawArray { release: Some(let_go), ..*array.as_raw() };
    let outer = RawArray { private_data: Box::into_raw(Box::new(array)).cast(), ..outer };
    // SAFETY: it is the array that it was, which the interface lets be moved, and is released as that was: with it.
    unsafe { ArrowArray::from_raw(outer) }
}

/// Releases what [`traced_array`] made.
unsafe extern "C" fn let_go(array: *mut RawArray) {
    marker::runs_drivers_code();
    // SAFETY: the interface has this called once, with the structure that `traced_array` made; so the box is there.
    unsafe {
        (*array).release = None;
        drop(Box::from_raw((*array).private_data.cast::<ArrowArray>()));
    }
}

/// An update that can't be read is its table's error, so that the others are not lost with it.
fn import(update: TableUpdate) -> Update {
    let table = decode::<UpdateHeader>(&update.header).map(|header| header.table).unwrap_or_default();
    // Counts that contradict each other are refused; should one slip through to an assertion of Arrow's library, that
    // is the batch's fault all the same.
    let imported = catch_unwind(AssertUnwindSafe(|| Update::import(update))).unwrap_or_else(|_| {
        let error = ErrorBody::new("a batch that contradicts itself");
        Err(ErrorBody { code: Some(CONTRADICTION.to_owned()), ..error })
    });
    imported.unwrap_or_else(|mut error| {
        // Of which table it is told is added where it is.
        if let Some(rest) = error.message.strip_prefix(&format!("table {table:?}: ")) {
            error.message = rest.to_owned();
        }
        Update::bare(table, Change::Failed(error))
    })
}

fn answer<T: DeserializeOwned>(reply: &Reply) -> Result<T, CallError> {
    done(reply)?;
    decode(&reply.body).map_err(|error| CallError::broken(&error.message))
}

fn done(reply: &Reply) -> Result<(), CallError> {
    if reply.is_ok() {
        return Ok(());
    }
    let body =
        decode(&reply.body).unwrap_or_else(|_| ErrorBody::new(format!("no reason given (status {})", reply.status.0)));
    Err(CallError::of(reply.status, body))
}

/// The host as the driver sees it.
#[derive(Clone)]
struct HostSide(Arc<dyn HostCalls>);

fn object(host: Arc<dyn HostCalls>) -> HostObject {
    Host_TO::from_value(HostSide(host), TD_Opaque)
}

/// Runs the host's side of a call; no panic of the host's crosses either.
fn guarded<T: Serialize>(work: impl FnOnce() -> Result<T, CallError>) -> Reply {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(answer)) => success(&answer),
        Ok(Err(error)) => failure(error.status, &error.body),
        Err(_) => failure(Status::PANICKED, &ErrorBody::new("the host panicked: its log says where")),
    }
}

fn read<T: DeserializeOwned>(text: RStr<'_>) -> Result<T, CallError> {
    decode(&text).map_err(|body| CallError::of(Status::INVALID, body))
}

fn quietly(work: impl FnOnce() -> Status) -> Status {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Status::PANICKED)
}

fn not_implemented(what: &str) -> Reply {
    failure(Status::NOT_IMPLEMENTED, &ErrorBody::new(format!("this host has no {what}")))
}

impl Host for HostSide {
    fn publish(&self, update: TableUpdate, _wait_ms: u64) -> Reply {
        // Rows are taken at once, on the driver's thread: there is no queue to wait for.
        guarded(|| {
            let update = Update::import(update).map_err(|body| CallError::of(Status::INVALID, body))?;
            self.0.publish(update)
        })
    }

    fn emit(&self, event: RStr<'_>) -> Reply {
        guarded(|| self.0.emit(read(event)?))
    }

    fn call(&self, request: RStr<'_>) -> Reply {
        guarded(|| self.0.call(read(request)?))
    }

    fn request_poll(&self, request: RStr<'_>) -> Reply {
        guarded(|| self.0.request_poll(read(request)?))
    }

    fn status(&self, request: RStr<'_>) -> Status {
        quietly(|| match decode::<StatusRequest>(&request) {
            Ok(request) => self.0.status(request.text),
            Err(_) => Status::INVALID,
        })
    }

    fn log(&self, record: RStr<'_>) -> Status {
        quietly(|| match decode(&record) {
            Ok(record) => self.0.log(record),
            Err(_) => Status::INVALID,
        })
    }

    fn cancelled(&self, call: u64) -> bool {
        self.0.cancelled(call)
    }

    fn control(&self, op: RStr<'_>, _json: RStr<'_>) -> Reply {
        not_implemented(&format!("operation {op:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use busway_plugin_api::TableSpec;

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Row {
        name: String,
    }

    #[test]
    fn inv07_a_thread_that_let_go_of_a_drivers_rows_is_known_as_the_hosts() {
        for polled in [true, false] {
            let rows = TableSpec::of::<Row>("t").rows(&[Row { name: "a".to_owned() }]).unwrap();
            let expected = rows.batches.clone();
            let given = Update::bare("t", Change::Snapshot(rows)).export().unwrap();
            let taken = import(if polled { traced(given) } else { given }).change;
            let Change::Snapshot(batches) = taken else { panic!("{taken:?}") };
            assert_eq!(batches.batches, expected);
            // A part of it keeps all of it.
            let column = Arc::clone(batches.batches[0].column(0));
            let let_go = std::thread::spawn(move || {
                drop(batches);
                let before = marker::makes_calls();
                drop(column);
                (before, marker::makes_calls())
            });
            assert_eq!(let_go.join().unwrap(), (false, polled));
        }
    }

    /// Stands for a driver's code.
    #[inline(never)]
    extern "C" fn drivers_code() {
        // No tail call: it is there when it dies.
        std::hint::black_box(std::process::abort as fn() -> !)();
    }

    #[test]
    fn inv07_a_child_that_a_driver_forked_and_that_dies_accuses_nobody() {
        const FOLDER: &str = "BUSWAY_TEST_FORKS_IN";
        let name = "plugin::load::tests::inv07_a_child_that_a_driver_forked_and_that_dies_accuses_nobody";
        if let Some(folder) = std::env::var_os(FOLDER) {
            let marks = marker::Marks::begin(Path::new(&folder)).unwrap();
            let [driver, version, sha256] = ["a", "1.0.0", "ab"].map(str::to_owned);
            let begin = drivers_code as extern "C" fn() as usize;
            marks.own(&marker::About { driver, version, sha256, datasource: None }, &(begin..begin + 64));
            // SAFETY: the child does nothing but die.
            let child = unsafe { libc::fork() };
            if child == 0 {
                drivers_code();
            }
            let mut status = 0;
            // SAFETY: it writes to what is this frame's.
            unsafe { libc::waitpid(child, &raw mut status, 0) };
            return assert!(libc::WIFSIGNALED(status));
        }
        let folder = tempfile::tempdir().unwrap();
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        let ended = command.args(["--exact", name]).env(FOLDER, folder.path()).output().unwrap();
        assert!(ended.status.success(), "{ended:?}");
        assert_eq!(std::fs::read_to_string(folder.path().join("death")).unwrap(), "");
    }
}
