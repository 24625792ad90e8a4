//! The modules of a model, with their paths.

use std::collections::BTreeMap;

use super::value::{Identity, Slot};
use super::{Object, Pickle, Value};
use crate::error::Error;

/// Where a module hangs: in the attribute `name` of the module at position `parent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'p> {
    /// Position of the module that holds it.
    pub parent: usize,
    /// The attribute.
    pub name: &'p str,
}

/// A module: an object with attributes.
#[derive(Debug, Clone)]
pub struct Module<'p> {
    /// The object.
    pub object: Object<'p>,
    /// Where it hangs; `None` for the root.
    pub place: Option<Place<'p>>,
    /// Where else the same instance hangs.
    pub aliases: Vec<Place<'p>>,
}

/// Every module instance once, parents first, in the order of attributes.
#[derive(Debug)]
pub struct ModuleTree<'p> {
    pickle: &'p Pickle,
    modules: Vec<Module<'p>>,
    by_identity: BTreeMap<Identity, usize>,
}

impl<'p> ModuleTree<'p> {
    /// The tree under the pickle's root.
    ///
    /// # Errors
    ///
    /// [`PickleFault::Root`](super::PickleFault::Root) when the root is no object with attributes.
    pub fn new(pickle: &'p Pickle) -> Result<Self, Error> {
        let root = pickle.root_object()?;
        let mut tree = Self { pickle, modules: Vec::new(), by_identity: BTreeMap::new() };
        // Depth first with the first child on top, so that modules come in the order in which they stand in the file.
        let mut open = vec![(root, None)];
        while let Some((object, place)) = open.pop() {
            if let Some(known) = tree.by_identity.get(&object.identity()).and_then(|at| tree.modules.get_mut(*at)) {
                known.aliases.extend(place);
                continue;
            }
            let parent = tree.modules.len();
            tree.by_identity.insert(object.identity(), parent);
            let first = open.len();
            open.extend(children(pickle, object).map(|(name, child)| (child, Some(Place { parent, name }))));
            if let Some(added) = open.get_mut(first..) {
                added.reverse();
            }
            tree.modules.push(Module { object, place, aliases: Vec::new() });
        }
        Ok(tree)
    }

    /// The pickle whose modules these are.
    pub fn pickle(&self) -> &'p Pickle {
        self.pickle
    }

    /// All modules.
    pub fn modules(&self) -> &[Module<'p>] {
        &self.modules
    }

    /// The module at a position.
    pub fn get(&self, position: usize) -> Option<&Module<'p>> {
        self.modules.get(position)
    }

    /// The position of the module that `slot` holds.
    pub fn position(&self, slot: Slot) -> Option<usize> {
        self.by_identity.get(&slot.identity()?).copied()
    }

    /// Attribute names from the root to the module at `position`, joined by dots; empty for the root.
    pub fn path(&self, position: usize) -> String {
        self.modules.get(position).and_then(|module| module.place).map_or_else(String::new, |place| self.path_of(place))
    }

    /// Attribute names from the root to `place`, joined by dots.
    pub fn path_of(&self, place: Place<'p>) -> String {
        let mut names = vec![place.name];
        let mut parent = place.parent;
        // A parent stands before its children, so this ends.
        while let Some(place) = self.modules.get(parent).and_then(|module| module.place) {
            names.push(place.name);
            parent = place.parent;
        }
        names.reverse();
        names.join(".")
    }

    /// The position of the module at `path`, whichever of its paths that is.
    pub fn at_path(&self, path: &str) -> Option<usize> {
        let mut at = 0;
        for name in path.split('.').filter(|name| !name.is_empty()) {
            at = self.position(self.modules.get(at)?.object.get(name)?)?;
        }
        Some(at)
    }
}

fn children<'p>(pickle: &'p Pickle, object: Object<'p>) -> impl Iterator<Item = (&'p str, Object<'p>)> {
    object.attributes().filter_map(|(name, slot)| match pickle.value(slot) {
        Value::Object(child) if child.has_attributes() => Some((name, child)),
        _ => None,
    })
}
