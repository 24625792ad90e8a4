//! Changes to a pickle, as bytes put in and bytes left out; memo positions are never renumbered.
//!
//! A value that is left out may have set memo positions that values behind it read. The first of those gets the value that the
//! position stood for written out in full, and sets the position itself.

use std::collections::BTreeMap;
use std::ops::Range;

use super::encode::Fresh;
use super::op::{Op, Ops, code};
use super::value::{Identity, Item, Slot};
use super::{Memo, Object, Pickle, Value};
use crate::error::{Error, PickleFault};

/// Values written out for memo positions may need further ones; torch's own pickles need three.
const DEEPEST: usize = 64;

/// Changes to one pickle.
#[derive(Debug)]
pub struct Splice<'p> {
    pickle: &'p Pickle,
    /// Position → bytes that go in front of what stands there.
    inserted: BTreeMap<usize, Vec<u8>>,
    /// Start of a value → its end, the memo instruction behind it included, and what takes its place.
    replaced: BTreeMap<usize, (usize, Vec<u8>)>,
    next_memo: u32,
    /// The attributes of objects that were changed; `None` where there are none to add to.
    attributes: BTreeMap<Identity, Option<Entries<'p>>>,
}

/// Key and value of an object's attributes.
type Entries<'p> = BTreeMap<&'p str, (Slot, Slot)>;

impl<'p> Splice<'p> {
    /// No changes yet.
    pub fn new(pickle: &'p Pickle) -> Self {
        let next_memo = u32::try_from(pickle.memo.len()).unwrap_or(u32::MAX);
        Self { pickle, inserted: BTreeMap::new(), replaced: BTreeMap::new(), next_memo, attributes: BTreeMap::new() }
    }

    /// Whether nothing was changed.
    pub fn is_empty(&self) -> bool {
        self.inserted.is_empty() && self.replaced.is_empty()
    }

    fn entries(&mut self, object: Object<'p>) -> Option<&Entries<'p>> {
        let entries = || object.has_attributes().then(|| object.entries());
        self.attributes.entry(object.identity()).or_insert_with(entries).as_ref()
    }

    fn fault(&self, at: usize, why: impl Into<std::borrow::Cow<'static, str>>) -> Error {
        PickleFault::Edit { why: why.into() }.at(&self.pickle.record, at)
    }

    /// A memo position that nothing uses, for [`Fresh::put`] and [`Fresh::get`].
    pub fn new_memo(&mut self) -> u32 {
        let memo = self.next_memo;
        self.next_memo = self.next_memo.saturating_add(1);
        memo
    }

    /// Add the attribute `name` to `object`, behind those it has.
    ///
    /// # Errors
    ///
    /// [`PickleFault::Edit`] when the object has this attribute already, or no attributes at all.
    pub fn add_attribute(&mut self, object: Object<'p>, name: &str, value: Fresh) -> Result<(), Error> {
        let at = object.span().start;
        let known = self.entries(object).map(|entries| entries.contains_key(name));
        if known == Some(true) {
            return Err(self.fault(at, format!("the object has an attribute `{name}` already")));
        }
        let fill = object.dict().and_then(|dict| dict.fill).filter(|_| known.is_some());
        let Some(position) = fill else {
            return Err(self.fault(at, "the object has no attributes to add to"));
        };
        let mut bytes = Fresh::new();
        bytes.str(name);
        let inserted = self.inserted.entry(position as usize).or_default();
        inserted.append(&mut bytes.into_bytes());
        inserted.append(&mut value.into_bytes());
        Ok(())
    }

    /// Make `object` an instance of `class`; other objects keep theirs.
    ///
    /// # Errors
    ///
    /// [`PickleFault::Edit`] when the object's class was changed already.
    pub fn set_class(&mut self, object: Object<'p>, class: &str) -> Result<(), Error> {
        let start = object.span().start;
        let mut ops = Ops::new(&self.pickle.bytes, start);
        ops.next().map_err(|fault| fault.at(&self.pickle.record, start))?;
        let mut value = Fresh::new();
        value.class(class);
        self.replace_span(start..ops.at(), value)
    }

    /// Leave the attribute `name` of `object` out.
    ///
    /// # Errors
    ///
    /// [`PickleFault::Edit`] when there is no such attribute, or it was changed already.
    pub fn remove_attribute(&mut self, object: Object<'p>, name: &str) -> Result<(), Error> {
        let Some((key, value)) = self.entries(object).and_then(|entries| entries.get(name).copied()) else {
            return Err(self.fault(object.span().start, format!("the object has no attribute `{name}`")));
        };
        self.replace_span(key.span().start..value.span().end, Fresh::new())
    }

    /// Put `value` in the place of what `slot` holds there; other references to the old value keep it.
    ///
    /// # Errors
    ///
    /// [`PickleFault::Edit`] when the value, or one that overlaps it, was replaced already.
    pub fn replace(&mut self, slot: Slot, value: Fresh) -> Result<(), Error> {
        self.replace_span(slot.span(), value)
    }

    fn replace_span(&mut self, span: Range<usize>, value: Fresh) -> Result<(), Error> {
        let Range { start, end } = span;
        let end = end + self.memo_len(end);
        let before = self.replaced.range(..end).next_back();
        if before.is_some_and(|(_, (other, _))| *other > start) {
            return Err(self.fault(start, "the value is replaced twice"));
        }
        self.replaced.insert(start, (end, value.into_bytes()));
        Ok(())
    }

    /// Add values behind those of the tuple that is the pickle's root.
    ///
    /// # Errors
    ///
    /// [`PickleFault::Edit`] when the root is no tuple, or was extended already.
    pub fn extend_root(&mut self, values: Fresh) -> Result<(), Error> {
        let root = self.pickle.root;
        let Value::Tuple(items) = self.pickle.value(root) else {
            return Err(self.fault(0, "the top value is no tuple"));
        };
        let Range { start, end } = root.span();
        let last = end.saturating_sub(1);
        let marked = self.pickle.bytes.get(last) == Some(&code::TUPLE);
        // TUPLE1 to TUPLE3 and EMPTY_TUPLE count their items; TUPLE takes all behind a mark.
        if !marked {
            if !items.is_empty() {
                self.inserted.entry(start).or_default().insert(0, code::MARK);
            }
            let mut bytes = Vec::new();
            if items.is_empty() {
                bytes.push(code::MARK);
            }
            bytes.append(&mut values.into_bytes());
            bytes.push(code::TUPLE);
            if self.replaced.insert(last, (end, bytes)).is_some() {
                return Err(self.fault(last, "the tuple is extended twice"));
            }
            return Ok(());
        }
        self.inserted.entry(last).or_default().append(&mut values.into_bytes());
        Ok(())
    }

    /// Length of the memo instruction at `at`, 0 where there is none.
    fn memo_len(&self, at: usize) -> usize {
        match self.pickle.bytes.get(at) {
            Some(&code::BINPUT) => 2,
            Some(&code::LONG_BINPUT) => 5,
            _ => 0,
        }
    }

    /// The changed pickle.
    ///
    /// # Errors
    ///
    /// [`PickleFault::Edit`] when values written out need further ones without end; torch's own pickles never do.
    pub fn finish(&self) -> Result<Vec<u8>, Error> {
        let room = self.inserted.values().map(Vec::len).sum::<usize>()
            + self.replaced.values().map(|(_, bytes)| bytes.len()).sum::<usize>();
        let mut out = Output {
            splice: self,
            bytes: Vec::with_capacity(self.pickle.bytes.len() + room),
            set: vec![false; self.pickle.memo.len()],
            definitions: if self.replaced.is_empty() { BTreeMap::new() } else { definitions(self.pickle) },
        };
        out.copy(0..self.pickle.bytes.len(), None, 0)?;
        Ok(out.bytes)
    }
}

struct Output<'s, 'p> {
    splice: &'s Splice<'p>,
    bytes: Vec<u8>,
    /// By memo position: it is set in what was written so far.
    set: Vec<bool>,
    /// Start of a value with a memo position → its end and the position, longest first.
    definitions: BTreeMap<usize, Vec<(usize, u32)>>,
}

impl Output<'_, '_> {
    /// Copy the instructions of `span` with all changes; the value that starts at `original` stays as it was.
    fn copy(&mut self, span: Range<usize>, original: Option<usize>, depth: usize) -> Result<(), Error> {
        let Splice { pickle, inserted, replaced, .. } = self.splice;
        if depth > DEEPEST {
            return Err(self.splice.fault(span.start, "memo positions lead too deep"));
        }
        let mut ops = Ops::new(&pickle.bytes, span.start);
        while ops.at() < span.end {
            let at = ops.at();
            // What goes in front of a value belongs to its place, not to a copy of it elsewhere.
            if let Some(bytes) = inserted.get(&at).filter(|_| original != Some(at)) {
                self.bytes.extend_from_slice(bytes);
            }
            if let Some((end, bytes)) = replaced.get(&at).filter(|_| original != Some(at)) {
                self.bytes.extend_from_slice(bytes);
                ops = Ops::new(&pickle.bytes, *end);
                continue;
            }
            // A part of a value that is written out late may have been written out on its own before; it must stay one value.
            if let Some((end, memo)) = self.known(at, span.end, original) {
                let mut get = Fresh::new();
                get.get(memo);
                self.bytes.append(&mut get.into_bytes());
                ops = Ops::new(&pickle.bytes, end + self.splice.memo_len(end));
                continue;
            }
            let op = ops.next().map_err(|fault| fault.at(&pickle.record, at))?;
            match op {
                Op::Get(memo) if !self.is_set(memo) => {
                    self.write_out(memo, depth)?;
                    continue;
                }
                Op::Put(memo) => self.mark_set(memo),
                _ => {}
            }
            self.bytes.extend_from_slice(pickle.bytes.get(at..ops.at()).unwrap_or_default());
        }
        Ok(())
    }

    /// The longest value at `at` that has a memo position which is set already: its end and the position.
    fn known(&self, at: usize, end: usize, original: Option<usize>) -> Option<(usize, u32)> {
        let whole = |found: usize| original == Some(at) && found == end;
        let found = self.definitions.get(&at)?.iter();
        found.copied().find(|(found, memo)| *found <= end && !whole(*found) && self.is_set(*memo))
    }

    fn is_set(&self, memo: u32) -> bool {
        self.set.get(memo as usize).copied().unwrap_or(false)
    }

    fn mark_set(&mut self, memo: u32) {
        if let Some(set) = self.set.get_mut(memo as usize) {
            *set = true;
        }
    }

    /// The value that `memo` stands for, which was left out, and the instruction that sets the position.
    fn write_out(&mut self, memo: u32, depth: usize) -> Result<(), Error> {
        let pickle = self.splice.pickle;
        let Some(Memo { slot }) = pickle.memo.get(memo as usize).copied().flatten() else {
            return Err(self.splice.fault(0, format!("memo position {memo} has no value")));
        };
        let span = definition(pickle, slot);
        self.copy(span.clone(), Some(span.start), depth + 1)?;
        if !self.is_set(memo) {
            self.mark_set(memo);
            let mut put = Fresh::new();
            put.put(memo);
            self.bytes.append(&mut put.into_bytes());
        }
        Ok(())
    }
}

fn definitions(pickle: &Pickle) -> BTreeMap<usize, Vec<(usize, u32)>> {
    let mut found: BTreeMap<usize, Vec<(usize, u32)>> = BTreeMap::new();
    for (memo, slot) in (0_u32..).zip(&pickle.memo) {
        if let Some(Memo { slot }) = slot {
            let span = definition(pickle, *slot);
            found.entry(span.start).or_default().push((span.end, memo));
        }
    }
    for ends in found.values_mut() {
        ends.sort_unstable_by(|a, b| b.cmp(a));
    }
    found
}

/// All bytes of a value; a container may have been given its position before its items.
fn definition(pickle: &Pickle, slot: Slot) -> Range<usize> {
    let whole = match slot.item {
        Item::List(id) => pickle.lists.get(id as usize).map(|list| list.start..list.end),
        Item::Dict(id) => pickle.dicts.get(id as usize).map(|dict| dict.start..dict.end),
        Item::Object(id) => pickle.objects.get(id as usize).map(|object| object.start..object.end),
        _ => None,
    };
    let whole = whole.map(|span| span.start as usize..span.end as usize);
    whole.filter(|whole| whole.start == slot.start as usize && whole.end > slot.end as usize).unwrap_or(slot.span())
}
