//! Writing what has to be made first: while one batch is written, the next one is made.

use std::io::{self, Write};

/// Bytes of one write. Larger writes make the kernel fill its page cache in large pieces of memory that it must first find, which
/// took up to ten times as long here; `cp` writes 128 KiB too.
pub const WRITE: usize = 128 << 10;

/// Write bytes, [`WRITE`] at a time.
///
/// # Errors
/// What the writer says.
pub fn put(out: &mut (impl Write + ?Sized), bytes: &[u8]) -> io::Result<()> {
    bytes.chunks(WRITE).try_for_each(|piece| out.write_all(piece))
}

/// Make a batch of each of `parts` and write it, one after the other; the next is made while one is written. A batch is made in one of the two
/// `rooms`, which `write` gives back: so much is held, however many batches there are.
///
/// # Errors
/// What `make` and `write` say; the writer's where both fail.
pub fn pipeline<P: Send, B: Send, R: Default + Send, E: Send>(
    parts: impl IntoIterator<Item = P>,
    [spare, free]: &mut [R; 2],
    make: impl Fn(P, R) -> Result<B, E> + Sync,
    mut write: impl FnMut(B) -> Result<R, E> + Send,
) -> Result<(), E> {
    let mut parts = parts.into_iter();
    let Some(first) = parts.next() else { return Ok(()) };
    let mut ready = make(first, std::mem::take(spare))?;
    loop {
        let next = parts.next().map(|part| (part, std::mem::take(free)));
        let (written, next) = rayon::join(|| write(ready), || next.map(|(part, room)| make(part, room)).transpose());
        let given_back = written?;
        let Some(batch) = next? else {
            *spare = given_back;
            return Ok(());
        };
        (ready, *free) = (batch, given_back);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn batches_are_written_in_their_order_and_their_room_is_used_again() {
        let anew = AtomicUsize::new(0);
        let mut out: Vec<u8> = Vec::new();
        let make = |part: u8, mut room: Vec<u8>| {
            if room.capacity() == 0 {
                anew.fetch_add(1, Ordering::Relaxed);
            }
            room.clear();
            room.push(part);
            Ok::<_, ()>(room)
        };
        let write = |batch: Vec<u8>| {
            out.extend(&batch);
            Ok(batch)
        };
        let mut rooms = [Vec::new(), Vec::new()];
        pipeline(0..20, &mut rooms, make, write).unwrap();
        assert!(rooms.iter().all(|room| room.capacity() > 0));
        assert_eq!(out, (0..20).collect::<Vec<u8>>());
        assert_eq!(anew.into_inner(), 2);
    }

    #[test]
    fn an_error_ends_it() {
        let mut written = Vec::new();
        let make = |part: u8, (): ()| if part < 3 { Ok(part) } else { Err("made") };
        let found = pipeline(0..9, &mut [(), ()], make, |part| {
            written.push(part);
            Ok(())
        });
        assert_eq!((found, written), (Err("made"), vec![0, 1, 2]));
        let found = pipeline(2..9, &mut [(), ()], make, |_| Err::<(), _>("written"));
        assert_eq!(found, Err("written"));
        assert_eq!(pipeline(0..0, &mut [(), ()], make, |_| Err::<(), _>("written")), Ok(()));
    }
}
