//! What happens when a page of a map is not in its file any more.
//!
//! The system sends SIGBUS to the thread that touched it. The handler puts a page of zeros there, notes which map it was, and the thread
//! goes on; a signal that is about no map of ours goes to whoever handled it before. The first map installs the handler.
//!
//! The handler does only what is allowed in one: it reads atomics, and calls `mmap`, which is a bare system call.

use std::io;
use std::mem;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering, fence};

use libc::{c_int, c_void, sigaction, siginfo_t};

/// A place in the list of maps. It is never freed, and used again.
#[derive(Debug, Default)]
struct Region {
    /// Odd while start and end are changed: a handler that sees such a region, or another number afterwards, is not about it, since the
    /// map that it is about lives.
    turn: AtomicU32,
    start: AtomicUsize,
    end: AtomicUsize,
    taken: AtomicBool,
    lost: AtomicBool,
    next: AtomicPtr<Region>,
}

static REGIONS: AtomicPtr<Region> = AtomicPtr::new(ptr::null_mut());
static PAGE: AtomicUsize = AtomicUsize::new(0);
/// Who handled the signal before.
static BEFORE: OnceLock<sigaction> = OnceLock::new();

impl Region {
    fn set(&self, start: usize, end: usize) {
        self.turn.fetch_add(1, Ordering::AcqRel);
        fence(Ordering::Release);
        self.start.store(start, Ordering::Relaxed);
        self.end.store(end, Ordering::Relaxed);
        self.turn.fetch_add(1, Ordering::Release);
    }

    fn holds(&self, address: usize) -> bool {
        let turn = self.turn.load(Ordering::Acquire);
        let span = self.start.load(Ordering::Relaxed)..self.end.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        turn.is_multiple_of(2) && self.turn.load(Ordering::Relaxed) == turn && span.contains(&address)
    }
}

/// All places there are, newest first.
fn regions() -> impl Iterator<Item = &'static Region> {
    let follow = |place: &AtomicPtr<Region>| {
        let found = place.load(Ordering::Acquire);
        #[expect(unsafe_code, reason = "a list that a signal handler can walk")]
        // SAFETY: null, or a region that was leaked before it was put there.
        unsafe {
            found.as_ref::<'static>()
        }
    };
    std::iter::successors(follow(&REGIONS), move |region| follow(&region.next))
}

/// A map that is watched until this is dropped.
#[derive(Debug)]
pub(crate) struct Watch(&'static Region);

impl Watch {
    pub(crate) fn new(map: &[u8]) -> Self {
        let free =
            |region: &&Region| region.taken.compare_exchange(false, true, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        let region = regions().find(free).unwrap_or_else(added);
        region.lost.store(false, Ordering::Relaxed);
        let span = map.as_ptr_range();
        // The last page is mapped as a whole.
        region.set(span.start.addr(), span.end.addr().next_multiple_of(PAGE.load(Ordering::Relaxed)));
        Self(region)
    }

    /// Whether a page of it was not there.
    pub(crate) fn lost(&self) -> bool {
        self.0.lost.load(Ordering::Acquire)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.set(0, 0);
        self.0.taken.store(false, Ordering::Release);
    }
}

/// A new place, taken.
fn added() -> &'static Region {
    let region: &'static Region = Box::leak(Box::new(Region { taken: AtomicBool::new(true), ..Region::default() }));
    let place = ptr::from_ref(region).cast_mut();
    let mut head = REGIONS.load(Ordering::Acquire);
    loop {
        region.next.store(head, Ordering::Relaxed);
        match REGIONS.compare_exchange_weak(head, place, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return region,
            Err(newer) => head = newer,
        }
    }
}

/// Put the handler in place, once.
#[expect(unsafe_code, reason = "a signal handler has no safe interface")]
pub(crate) fn install() -> io::Result<()> {
    static INSTALLED: std::sync::Mutex<bool> = std::sync::Mutex::new(false);
    let mut installed = INSTALLED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if *installed {
        return Ok(());
    }
    // SAFETY: a question about the system.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    PAGE.store(usize::try_from(page).map_err(io::Error::other)?, Ordering::Relaxed);
    // SAFETY: all of `sigaction` may be zero: no flags, an empty mask, the default handler.
    let mut action: sigaction = unsafe { mem::zeroed() };
    // SAFETY: the same.
    let mut before: sigaction = unsafe { mem::zeroed() };
    // SAFETY: asks for the present action, for whoever is called where the signal is not ours.
    if unsafe { sigaction(libc::SIGBUS, ptr::null(), &raw mut before) } != 0 {
        return Err(io::Error::last_os_error());
    }
    BEFORE.get_or_init(|| before);
    action.sa_sigaction = on_bus_error as extern "C" fn(c_int, *mut siginfo_t, *mut c_void) as usize;
    // On the stack that the thread has for signals, as Rust's own handler of this signal wants it.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the handler has the type that `SA_SIGINFO` asks for, and does only what a handler may do.
    if unsafe { sigaction(libc::SIGBUS, &raw const action, ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    *installed = true;
    Ok(())
}

#[expect(unsafe_code, reason = "what a signal handler gets are pointers, and what it does is a system call")]
extern "C" fn on_bus_error(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: with `SA_SIGINFO`, the system gives a valid pointer.
    let address = unsafe { (*info).si_addr() }.addr();
    let mut ours = false;
    for region in regions().filter(|region| region.holds(address)) {
        region.lost.store(true, Ordering::Release);
        ours = true;
    }
    let page = PAGE.load(Ordering::Relaxed);
    if ours && put_zeros(address - address % page, page) {
        return;
    }
    forward(signal, info, context);
}

/// A page of zeros where one of a map was.
#[expect(unsafe_code, reason = "the system call has no safe interface")]
fn put_zeros(start: usize, page: usize) -> bool {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    let place = ptr::with_exposed_provenance_mut(start);
    // SAFETY: the page belongs to a map that lives, since the thread that is here has just read it; nobody writes to it, and reading it
    // could only end in this handler. The map's owner unmaps it with the rest.
    let put = unsafe { libc::mmap(place, page, libc::PROT_READ, flags, -1, 0) };
    put != libc::MAP_FAILED
}

/// Do what would have been done without us.
#[expect(unsafe_code, reason = "it calls what another one installed")]
fn forward(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let before = BEFORE.get();
    let handler = before.map_or(libc::SIG_DFL, |before| before.sa_sigaction);
    if handler == libc::SIG_DFL || handler == libc::SIG_IGN {
        // SAFETY: the default again; the instruction is tried once more, and ends the process.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    } else if before.is_some_and(|before| before.sa_flags & libc::SA_SIGINFO != 0) {
        // SAFETY: it was installed for this signal with this flag, so this is its type.
        let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = unsafe { mem::transmute(handler) };
        handler(signal, info, context);
    } else {
        // SAFETY: it was installed for this signal without the flag, so this is its type.
        let handler: extern "C" fn(c_int) = unsafe { mem::transmute(handler) };
        handler(signal);
    }
}
