//! All source files of an archive, and looking names up in them.

use std::collections::BTreeMap;

use quant_math::Budget;

use crate::torchscript::code::{Class, Function, ParseError, SourceFile, parse_within};

/// A source record and what was read from it.
#[derive(Debug, Clone)]
pub struct CodeFile {
    /// The record's name, `code/__torch__/….py`.
    pub record: String,
    /// What qualified names of its classes begin with, `__torch__.…`.
    pub module: String,
    /// The text.
    pub text: String,
    /// What is in it.
    pub source: SourceFile,
}

/// A class, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassRef {
    /// Index of the file.
    pub file: usize,
    /// Index of the class in the file.
    pub class: usize,
}

/// A function or method, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionRef {
    /// Index of the file.
    pub file: usize,
    /// Index of the class in the file; `None` for a free function.
    pub class: Option<usize>,
    /// Index of the method in the class, or of the function in the file.
    pub function: usize,
}

/// The source files of a model.
#[derive(Debug, Clone, Default)]
pub struct Program {
    files: Vec<CodeFile>,
    classes: BTreeMap<String, ClassRef>,
    functions: BTreeMap<String, FunctionRef>,
}

impl Program {
    /// Read every record `code/….py` of `records`.
    ///
    /// # Errors
    ///
    /// The first text that cannot be read, with its record.
    pub fn new(records: impl IntoIterator<Item = (String, String)>) -> Result<Self, (String, ParseError)> {
        Self::within(records, &Budget::for_file(0))
    }

    /// The same for records of a file that has a budget.
    pub(crate) fn within(
        records: impl IntoIterator<Item = (String, String)>,
        budget: &Budget,
    ) -> Result<Self, (String, ParseError)> {
        let mut program = Self::default();
        for (record, text) in records {
            let Some(module) = module_of(&record) else { continue };
            let source = parse_within(&text, budget).map_err(|error| (record.clone(), error))?;
            let file = program.files.len();
            for (class, found) in source.classes.iter().enumerate() {
                program.classes.insert(format!("{module}.{}", found.name), ClassRef { file, class });
            }
            for (function, found) in source.functions.iter().enumerate() {
                let place = FunctionRef { file, class: None, function };
                program.functions.insert(format!("{module}.{}", found.name), place);
            }
            program.files.push(CodeFile { record, module, text, source });
        }
        Ok(program)
    }

    /// Whether a record of this name holds source.
    pub fn is_source(record: &str) -> bool {
        module_of(record).is_some()
    }

    /// All files.
    pub fn files(&self) -> &[CodeFile] {
        &self.files
    }

    /// The class with this qualified name.
    pub fn find_class(&self, qualified: &str) -> Option<ClassRef> {
        self.classes.get(qualified).copied()
    }

    /// The free function with this qualified name.
    pub fn find_function(&self, qualified: &str) -> Option<FunctionRef> {
        self.functions.get(qualified).copied()
    }

    /// The method `name` of a class.
    pub fn find_method(&self, class: ClassRef, name: &str) -> Option<FunctionRef> {
        let function = self.class(class)?.method_position(name)?;
        Some(FunctionRef { file: class.file, class: Some(class.class), function })
    }

    /// The class at a place.
    pub fn class(&self, place: ClassRef) -> Option<&Class> {
        self.files.get(place.file)?.source.classes.get(place.class)
    }

    /// The function at a place.
    pub fn function(&self, place: FunctionRef) -> Option<&Function> {
        let source = &self.files.get(place.file)?.source;
        match place.class {
            Some(class) => source.classes.get(class)?.methods.get(place.function),
            None => source.functions.get(place.function),
        }
    }

    /// The text of a file; empty where there is none.
    pub fn text(&self, file: usize) -> &str {
        self.files.get(file).map_or("", |file| &file.text)
    }
}

/// `code/__torch__/a/b.py` holds what is called `__torch__.a.b.…`.
fn module_of(record: &str) -> Option<String> {
    let path = record.strip_prefix("code/")?.strip_suffix(".py")?;
    Some(path.replace('/', "."))
}
