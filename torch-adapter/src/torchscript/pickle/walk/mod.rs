//! The machine: runs the instructions of a pickle as data. Nothing is imported, called or built.

mod build;

use quant_math::Budget;

use super::global::Global;
use super::op::{Op, Ops};
use super::value::{Container, Instance, Item, Items, Slot};
use super::{Memo, Pickle};
use crate::error::{Error, PickleFault};
use crate::limits::Limits;

pub(super) fn walk(record: &str, bytes: Vec<u8>, limits: &Limits, budget: &Budget) -> Result<Pickle, Error> {
    let (out, root) = run(record, &bytes, limits, budget)?;
    Ok(Pickle { bytes, root, ..out })
}

fn run(record: &str, bytes: &[u8], limits: &Limits, budget: &Budget) -> Result<(Pickle, Slot), Error> {
    if u32::try_from(bytes.len()).is_err() {
        return Err(PickleFault::Length { found: bytes.len() as u64 }.at(record, 0));
    }
    let (stack, marks) = (Vec::new(), Vec::new());
    let mut walker = Walker { limits, budget, bytes, out: Pickle::empty(record), stack, marks, ops: 0 };
    let mut ops = Ops::new(bytes, 0);
    let root = loop {
        let at = ops.at();
        let step = ops.next().and_then(|op| walker.step(op, position(at), position(ops.at())));
        if step.map_err(|fault| fault.at(record, at))? {
            break walker.root().map_err(|fault| fault.at(record, at))?;
        }
    };
    let left = bytes.len() - ops.at();
    if left != 0 {
        return Err(PickleFault::Trailing { found: left as u64 }.at(record, ops.at()));
    }
    Ok((walker.out, root))
}

/// Memo positions that a pickle may have beyond the number of its bytes.
const SPARE_POSITIONS: usize = 1 << 16;

/// A position in a pickle; its length was checked.
pub(super) fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

struct Mark {
    /// Values on the stack below it.
    height: usize,
    at: u32,
}

pub(super) struct Walker<'l> {
    limits: &'l Limits,
    budget: &'l Budget,
    pub(super) bytes: &'l [u8],
    pub(super) out: Pickle,
    stack: Vec<Slot>,
    marks: Vec<Mark>,
    ops: usize,
}

impl Walker<'_> {
    /// One instruction at `start..end`; true for the last one.
    fn step(&mut self, op: Op<'_>, start: u32, end: u32) -> Result<bool, PickleFault> {
        self.ops += 1;
        if self.ops > self.limits.pickle_ops {
            return Err(PickleFault::Ops { limit: self.limits.pickle_ops });
        }
        if (self.ops == 1) != (op == Op::Proto(2)) {
            let found = if self.ops == 1 { format!("{op:?}") } else { "a second protocol".to_owned() };
            if self.ops == 1 || matches!(op, Op::Proto(_)) {
                return Err(PickleFault::Protocol { found });
            }
        }
        let plain = |item| Slot { start, end, depth: 0, item };
        match op {
            Op::Proto(_) => {}
            Op::None => self.push(plain(Item::None))?,
            Op::Bool(value) => self.push(plain(Item::Bool(value)))?,
            Op::Int(_) => self.push(plain(Item::Int(start)))?,
            Op::Float(_) => self.push(plain(Item::Float(start)))?,
            Op::Str(text) => {
                let len = position(text.len());
                self.push(plain(Item::Str(end - len, len)))?;
            }
            Op::EmptyTuple => self.push(plain(Item::Tuple(0, 0)))?,
            Op::EmptyList => self.new_list(start, end, Items::default())?,
            Op::EmptyDict => self.new_dict(start, end, Items::default())?,
            Op::Mark => {
                self.count::<Mark>(1)?;
                self.marks.push(Mark { height: self.stack.len(), at: start });
            }
            Op::Put(memo) => self.put(memo)?,
            Op::Get(memo) => self.get(memo, start, end)?,
            Op::Global { module, name } => self.global(module, name, start, end)?,
            Op::TupleOf(len) => {
                let (first, items) = self.pop_many(len.into())?;
                self.tuple(items, first, end)?;
            }
            Op::Tuple => {
                let (at, items) = self.pop_mark()?;
                self.tuple(items, at, end)?;
            }
            Op::List => {
                let (at, items) = self.pop_mark()?;
                self.new_list(at, end, items)?;
            }
            Op::Dict => {
                let (at, items) = self.pop_mark()?;
                self.new_dict(at, end, items)?;
            }
            Op::Appends => self.appends(start, end)?,
            Op::SetItems => self.set_items(start, end)?,
            Op::NewObj => self.new_object(end)?,
            Op::Build => self.build(end)?,
            Op::PersId => self.storage(end)?,
            Op::Reduce => self.reduce(end)?,
            Op::Stop => return Ok(true),
        }
        Ok(false)
    }

    fn root(&mut self) -> Result<Slot, PickleFault> {
        let root = self.pop()?;
        let found = self.stack.len() + self.marks.len() + 1;
        if found != 1 {
            return Err(PickleFault::Leftover { found });
        }
        if self.out.objects.iter().any(|object| object.state.is_none()) {
            return Err(operand("the end of the pickle", "an object without a state", "BUILD after every NEWOBJ"));
        }
        Ok(root)
    }

    pub(super) fn push(&mut self, slot: Slot) -> Result<(), PickleFault> {
        if slot.depth as usize > self.limits.depth {
            return Err(PickleFault::Depth { limit: self.limits.depth });
        }
        if self.stack.len() == self.stack.capacity() {
            // It doubles, and both are there while it is copied.
            self.count::<Slot>(self.stack.len().max(4) / 2)?;
        }
        self.stack.push(slot);
        Ok(())
    }

    pub(super) fn count<T>(&self, values: usize) -> Result<(), PickleFault> {
        PickleFault::count::<T>(self.budget, values)
    }

    /// The top value, which must lie above the last mark.
    pub(super) fn pop(&mut self) -> Result<Slot, PickleFault> {
        let floor = self.marks.last().map_or(0, |mark| mark.height);
        let underflow = || operand("the stack", "no value", "one more value");
        if self.stack.len() <= floor { Err(underflow()) } else { self.stack.pop().ok_or_else(underflow) }
    }

    /// The top values, which must lie above the last mark, and where the first of them starts.
    fn pop_many(&mut self, count: usize) -> Result<(u32, Items), PickleFault> {
        let floor = self.marks.last().map_or(0, |mark| mark.height);
        let height = self.stack.len().checked_sub(count).filter(|height| *height >= floor);
        let height = height.ok_or_else(|| operand("the stack", "too few values", "one for every item"))?;
        let start = self.stack.get(height).map_or(0, |slot| slot.start);
        Ok((start, self.pool(height)?))
    }

    /// Where the last mark stands, and the values above it.
    fn pop_mark(&mut self) -> Result<(u32, Items), PickleFault> {
        let mark = self.marks.pop().ok_or_else(|| operand("the stack", "no mark", "a mark"))?;
        Ok((mark.at, self.pool(mark.height)?))
    }

    /// The values above `height` go from the stack to the pool.
    fn pool(&mut self, height: usize) -> Result<Items, PickleFault> {
        self.count::<Slot>(self.stack.len().saturating_sub(height))?;
        let depth = self.stack.get(height..).map_or(0, nest);
        let first = position(self.out.pool.len());
        self.out.pool.extend(self.stack.drain(height.min(self.stack.len())..));
        Ok(Items { first, len: position(self.out.pool.len()) - first, depth })
    }

    fn put(&mut self, memo: u32) -> Result<(), PickleFault> {
        let wrong = |why| Err(PickleFault::Memo { found: memo.into(), why });
        let position = memo as usize;
        // torch counts up, so there are never more positions than bytes; a spliced pickle may have lost some of the lower ones.
        if position > self.bytes.len() + SPARE_POSITIONS {
            return wrong("is far beyond the number of values");
        }
        let slot = self.pop()?;
        self.stack.push(slot);
        if self.out.memo.len() <= position {
            self.count::<Memo>(position + 1 - self.out.memo.len())?;
            self.out.memo.resize(position + 1, None);
        }
        match self.out.memo.get_mut(position) {
            Some(free @ None) => *free = Some(Memo { slot }),
            _ => return wrong("is set twice"),
        }
        Ok(())
    }

    fn get(&mut self, memo: u32, start: u32, end: u32) -> Result<(), PickleFault> {
        let found = self.out.memo.get(memo as usize).copied().flatten();
        let unset = PickleFault::Memo { found: memo.into(), why: "is read before it is set" };
        let Memo { slot } = found.ok_or(unset)?;
        let mut depth = slot.depth;
        match slot.item {
            Item::List(id) => depth = depth.max(share(&mut self.out.lists, id)),
            Item::Dict(id) => depth = depth.max(share(&mut self.out.dicts, id)),
            Item::Object(id) => {
                if let Some(object) = self.out.objects.get_mut(id as usize) {
                    object.shared = true;
                    depth = depth.max(object.state.map_or(0, |state| state.depth + 1));
                }
            }
            _ => {}
        }
        self.push(Slot { start, end, depth, item: slot.item })
    }

    fn global(&mut self, module: &[u8], name: &[u8], start: u32, end: u32) -> Result<(), PickleFault> {
        let global = Global::named(module, name)?;
        let mut class = 0;
        if global == Global::Class {
            class = position(self.out.classes.len());
            let text = |bytes| str::from_utf8(bytes).map_err(|_| PickleFault::Utf8 { what: "a class name" });
            self.count::<String>(1 + (module.len() + name.len()) / size_of::<String>())?;
            self.out.classes.push(format!("{}.{}", text(module)?, text(name)?));
        }
        self.push(Slot { start, end, depth: 0, item: Item::Global(global, class) })
    }

    fn tuple(&mut self, items: Items, start: u32, end: u32) -> Result<(), PickleFault> {
        self.push(Slot { start, end, depth: items.depth, item: Item::Tuple(items.first, items.len) })
    }

    fn new_list(&mut self, start: u32, end: u32, items: Items) -> Result<(), PickleFault> {
        let id = position(self.out.lists.len());
        self.count::<Container>(1)?;
        self.out.lists.push(Container { items, start, end, fill: None, shared: false });
        self.push(Slot { start, end, depth: items.depth, item: Item::List(id) })
    }

    pub(super) fn new_dict(&mut self, start: u32, end: u32, items: Items) -> Result<(), PickleFault> {
        items.even()?;
        let id = position(self.out.dicts.len());
        self.count::<Container>(1)?;
        self.out.dicts.push(Container { items, start, end, fill: None, shared: false });
        self.push(Slot { start, end, depth: items.depth, item: Item::Dict(id) })
    }

    fn appends(&mut self, start: u32, end: u32) -> Result<(), PickleFault> {
        let (_, items) = self.pop_mark()?;
        let list = self.pop()?;
        let Item::List(id) = list.item else { return Err(operand("APPENDS", list.item.kind(), "a list")) };
        fill(&mut self.out.lists, id, items, (start, end))?;
        self.push(Slot { end, depth: items.depth, ..list })
    }

    fn set_items(&mut self, start: u32, end: u32) -> Result<(), PickleFault> {
        let (_, items) = self.pop_mark()?;
        items.even()?;
        let dict = self.pop()?;
        let Item::Dict(id) = dict.item else { return Err(operand("SETITEMS", dict.item.kind(), "a dictionary")) };
        fill(&mut self.out.dicts, id, items, (start, end))?;
        self.push(Slot { end, depth: items.depth, ..dict })
    }

    fn new_object(&mut self, end: u32) -> Result<(), PickleFault> {
        let args = self.pop()?;
        if !matches!(args.item, Item::Tuple(_, 0)) {
            return Err(operand("NEWOBJ", args.item.kind(), "an empty tuple"));
        }
        let class = self.pop()?;
        let Item::Global(Global::Class, name) = class.item else {
            return Err(operand("NEWOBJ", class.item.kind(), "a class of the archive"));
        };
        let id = position(self.out.objects.len());
        self.count::<Instance>(1)?;
        let start = class.start;
        self.out.objects.push(Instance { class: name, state: None, start, end, shared: false });
        self.push(Slot { start, end, depth: 0, item: Item::Object(id) })
    }

    fn build(&mut self, end: u32) -> Result<(), PickleFault> {
        let state = self.pop()?;
        let object = self.pop()?;
        let Item::Object(id) = object.item else { return Err(operand("BUILD", object.item.kind(), "an object")) };
        let Some(instance) = self.out.objects.get_mut(id as usize) else { return Ok(()) };
        if instance.shared {
            return Err(PickleFault::Shared { what: "an object" });
        }
        if instance.state.is_some() {
            return Err(operand("BUILD", "an object with a state", "an object without one"));
        }
        instance.state = Some(state);
        instance.end = end;
        self.push(Slot { end, depth: state.depth + 1, ..object })
    }
}

pub(super) fn operand(what: &'static str, found: &'static str, expected: &'static str) -> PickleFault {
    PickleFault::Operand { what, found: found.into(), expected: expected.into() }
}

/// Depth of a value that holds `items`.
fn nest(items: &[Slot]) -> u32 {
    items.iter().map(|slot| slot.depth + 1).max().unwrap_or(0)
}

impl Items {
    fn even(self) -> Result<(), PickleFault> {
        if self.len.is_multiple_of(2) { Ok(()) } else { Err(operand("a dictionary", "a key without a value", "pairs")) }
    }
}

/// From now on the container may not change; its depth.
fn share(containers: &mut [Container], id: u32) -> u32 {
    containers.get_mut(id as usize).map_or(0, |container| {
        container.shared = true;
        container.items.depth
    })
}

/// Give a container its items: once, and before it is shared.
fn fill(containers: &mut [Container], id: u32, items: Items, (start, end): (u32, u32)) -> Result<(), PickleFault> {
    let Some(container) = containers.get_mut(id as usize) else { return Ok(()) };
    if container.shared {
        return Err(PickleFault::Shared { what: "a list or dictionary" });
    }
    if container.fill.is_some() || container.items.len != 0 {
        return Err(operand("APPENDS or SETITEMS", "a container with items", "an empty one"));
    }
    *container = Container { items, end, fill: Some(start), ..*container };
    Ok(())
}
