//! The walker and the splicer on pickles written by hand, instruction by instruction.

use super::*;

fn read(bytes: &[u8]) -> Result<Pickle, Error> {
    Pickle::read("data.pkl", bytes.to_vec(), &Limits::default())
}

fn code(bytes: &[u8]) -> &'static str {
    read(bytes).expect_err("the pickle is not right").code()
}

/// A module `M` with the given attributes, and nothing in the memo.
fn module(attributes: impl FnOnce(&mut Fresh)) -> Vec<u8> {
    let mut fresh = Fresh::new();
    fresh.object("__torch__.M", attributes);
    wrap(&fresh.into_bytes())
}

fn wrap(value: &[u8]) -> Vec<u8> {
    [b"\x80\x02", value, b"."].concat()
}

fn tensor(key: &str) -> FreshTensor {
    FreshTensor {
        kind: StorageType::Float,
        key: key.to_owned(),
        device: "cpu".to_owned(),
        sizes: vec![2, 3],
        strides: None,
        requires_grad: true,
    }
}

#[test]
fn fresh_values_are_read_back() {
    let numbers = [0, 255, 256, 65_535, 65_536, -1, i64::from(i32::MIN), i64::MAX, i64::MIN];
    let bytes = module(|m| {
        m.str("weight").tensor(&tensor("7")).str("on").bool(true).str("p").float(0.1).str("none").none();
        for number in numbers {
            m.str(&format!("n{number}")).int(number);
        }
        m.str("child").object("__torch__.a.b.Child", |c| {
            c.str("x").int(1);
        });
    });
    let pickle = read(&bytes).unwrap();
    let root = pickle.object(pickle.root()).unwrap();
    assert_eq!(root.class(), "__torch__.M");
    let weight = pickle.tensor(root.get("weight").unwrap()).unwrap();
    assert_eq!((weight.sizes.as_slice(), weight.strides.as_slice()), (&[2, 3][..], &[3, 1][..]));
    assert_eq!((pickle.storages()[0].key.as_str(), pickle.storages()[0].numel), ("7", 6));
    for number in numbers {
        let slot = root.get(&format!("n{number}")).unwrap();
        assert!(matches!(pickle.value(slot), Value::Int(value) if value == number), "{number}");
    }
    let tree = ModuleTree::new(&pickle).unwrap();
    assert_eq!((tree.modules().len(), tree.path(1), tree.at_path("child")), (2, "child".to_owned(), Some(1)));
    assert_eq!(tree.modules()[1].object.class(), "__torch__.a.b.Child");
}

#[test]
fn spans_cover_values_and_nothing_else() {
    let bytes = module(|m| {
        m.str("a").int(300).str("w").tensor(&tensor("0"));
    });
    let pickle = read(&bytes).unwrap();
    let root = pickle.object(pickle.root()).unwrap();
    assert_eq!(&bytes[root.get("a").unwrap().span()], b"M\x2c\x01");
    let mut alone = Fresh::new();
    alone.tensor(&tensor("0"));
    assert_eq!(bytes[root.get("w").unwrap().span()], alone.into_bytes());
    assert_eq!(pickle.root().span(), 2..bytes.len() - 1);
}

#[test]
fn no_changes_copy_the_bytes() {
    let bytes = module(|m| {
        m.str("w").tensor(&tensor("0"));
    });
    let pickle = read(&bytes).unwrap();
    assert_eq!(Splice::new(&pickle).finish().unwrap(), bytes);
}

#[test]
fn an_attribute_goes_behind_the_others() {
    let pickle = read(&module(|m| {
        m.str("a").int(1);
    }))
    .unwrap();
    let root = pickle.object(pickle.root()).unwrap();
    let mut splice = Splice::new(&pickle);
    let mut two = Fresh::new();
    two.int(2);
    splice.add_attribute(root, "b", two.clone()).unwrap();
    assert_eq!(splice.add_attribute(root, "a", two).unwrap_err().code(), "T0216");
    let expected = module(|m| {
        m.str("a").int(1).str("b").int(2);
    });
    assert_eq!(splice.finish().unwrap(), expected);
}

/// `a` defines a tensor and, inside it, memo positions for a function, a storage class and the tensor; `b` and `c` use them.
fn with_memo() -> Vec<u8> {
    let text = |text: &[u8]| [b"X", &u32::try_from(text.len()).unwrap().to_le_bytes()[..], text].concat();
    let hooks = b"ccollections\nOrderedDict\n)R";
    wrap(
        &[
            b"c__torch__\nM\n)\x81}(".to_vec(),
            text(b"a"),
            b"ctorch._utils\n_rebuild_tensor_v2\nq\x00((".to_vec(),
            text(b"storage"),
            b"ctorch\nFloatStorage\nq\x01".to_vec(),
            text(b"0"),
            text(b"cpu"),
            b"K\x06tQq\x02K\x00(K\x06t(K\x01t\x88".to_vec(),
            hooks.to_vec(),
            b"tRq\x03".to_vec(),
            text(b"b"),
            b"h\x03".to_vec(),
            text(b"c"),
            b"h\x00(h\x02K\x02(K\x02t(K\x01t\x89".to_vec(),
            hooks.to_vec(),
            b"tR".to_vec(),
            b"ub".to_vec(),
        ]
        .concat(),
    )
}

#[test]
fn aliases_and_views_are_one_tensor_and_one_storage() {
    let pickle = read(&with_memo()).unwrap();
    let root = pickle.object(pickle.root()).unwrap();
    let [a, b, c] = ["a", "b", "c"].map(|name| root.get(name).unwrap());
    assert_eq!(a.identity(), b.identity());
    assert_ne!(a.identity(), c.identity());
    assert_eq!((pickle.tensors().len(), pickle.storages().len()), (2, 1));
    assert_eq!((pickle.tensor(c).unwrap().storage, pickle.tensor(c).unwrap().offset), (0, 2));
}

#[test]
fn what_a_replaced_value_defined_is_written_out_where_it_is_needed() {
    let bytes = with_memo();
    let pickle = read(&bytes).unwrap();
    let root = pickle.object(pickle.root()).unwrap();
    let mut splice = Splice::new(&pickle);
    let mut value = Fresh::new();
    value.int(5);
    splice.replace(root.get("a").unwrap(), value.clone()).unwrap();
    assert_eq!(splice.replace(root.get("a").unwrap(), value).unwrap_err().code(), "T0216");
    let changed = read(&splice.finish().unwrap()).unwrap();
    let new_root = changed.object(changed.root()).unwrap();
    assert!(matches!(changed.value(new_root.get("a").unwrap()), Value::Int(5)));
    // `b` is the old tensor in full now, and `c` is still a view of the same storage.
    let [b, c] = ["b", "c"].map(|name| changed.tensor(new_root.get(name).unwrap()).unwrap());
    assert_eq!((b.sizes.as_slice(), b.storage, c.storage, c.offset), (&[6][..], 0, 0, 2));
    assert_eq!(changed.storages().len(), 1);
}

#[test]
fn parts_of_a_value_that_is_written_out_late_stay_one_value() {
    // `c` needs the storage, and behind it `d` needs the tensor that lies in it: both are written out, in this order.
    let mut bytes = with_memo();
    bytes.truncate(bytes.len() - 3);
    bytes.extend(b"X\x01\x00\x00\x00dh\x03ub.");
    let pickle = read(&bytes).unwrap();
    let root = pickle.object(pickle.root()).unwrap();
    let mut splice = Splice::new(&pickle);
    for name in ["a", "b"] {
        let mut value = Fresh::new();
        value.none();
        splice.replace(root.get(name).unwrap(), value).unwrap();
    }
    let changed = read(&splice.finish().unwrap()).unwrap();
    let root = changed.object(changed.root()).unwrap();
    let [c, d] = ["c", "d"].map(|name| changed.tensor(root.get(name).unwrap()).unwrap());
    assert_eq!((changed.storages().len(), c.storage, d.storage), (1, 0, 0));
    assert_eq!((c.offset, d.offset, d.sizes.as_slice()), (2, 0, &[6][..]));
}

#[test]
fn replacing_a_reference_leaves_the_definition() {
    let pickle = read(&with_memo()).unwrap();
    let root = pickle.object(pickle.root()).unwrap();
    let mut splice = Splice::new(&pickle);
    let mut value = Fresh::new();
    value.none();
    splice.replace(root.get("b").unwrap(), value).unwrap();
    let changed = read(&splice.finish().unwrap()).unwrap();
    let new_root = changed.object(changed.root()).unwrap();
    assert!(changed.tensor(new_root.get("a").unwrap()).is_some());
    assert!(matches!(changed.value(new_root.get("b").unwrap()), Value::None));
}

#[test]
fn new_memo_positions_share_a_new_value() {
    let pickle = read(&with_memo()).unwrap();
    let root = pickle.object(pickle.root()).unwrap();
    let mut splice = Splice::new(&pickle);
    let memo = splice.new_memo();
    let (mut first, mut second) = (Fresh::new(), Fresh::new());
    first.tensor(&tensor("new")).put(memo);
    second.get(memo);
    splice.replace(root.get("a").unwrap(), first).unwrap();
    splice.replace(root.get("b").unwrap(), second).unwrap();
    let changed = read(&splice.finish().unwrap()).unwrap();
    let new_root = changed.object(changed.root()).unwrap();
    assert_eq!(new_root.get("a").unwrap().identity(), new_root.get("b").unwrap().identity());
}

#[test]
fn root_tuples_of_every_form_grow() {
    let forms: [(&[u8], usize); 6] = [
        (b")", 0),
        (b"K\x01\x85", 1),
        (b"K\x01K\x02\x86", 2),
        (b"K\x01K\x02K\x03\x87", 3),
        (b"(K\x01t", 1),
        (b"(t", 0),
    ];
    for (form, len) in forms {
        let pickle = read(&wrap(form)).unwrap();
        let mut splice = Splice::new(&pickle);
        let mut more = Fresh::new();
        more.int(8).int(9);
        splice.extend_root(more).unwrap();
        let changed = read(&splice.finish().unwrap()).unwrap();
        let items = changed.items(changed.root()).unwrap();
        let last = items.last().map(|slot| changed.value(*slot));
        assert!(items.len() == len + 2 && matches!(last, Some(Value::Int(9))), "{form:?}");
    }
}

#[test]
fn tagged_lists_are_lists() {
    let tagged = b"ctorch.jit._pickle\nrestore_type_tag\n](K\x01K\x02eX\x09\x00\x00\x00List[int]\x86R";
    let built = b"ctorch.jit._pickle\nbuild_intlist\n(](K\x01K\x02et\x52";
    for bytes in [&tagged[..], &built[..]] {
        let pickle = read(&wrap(bytes)).unwrap();
        assert_eq!(pickle.items(pickle.root()).map(<[Slot]>::len), Some(2));
    }
}

#[test]
fn every_wrong_pickle_has_its_code() {
    let deep = [vec![b'('; 600], vec![b't'; 600]].concat();
    let put = |memo: u32| [b"Nr", &memo.to_le_bytes()[..]].concat();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("nothing", Vec::new(), "T0201"),
        ("no stop", b"\x80\x02N".to_vec(), "T0201"),
        ("protocol 4", b"\x80\x04N.".to_vec(), "T0202"),
        ("no protocol", b"N.".to_vec(), "T0202"),
        ("two protocols", b"\x80\x02\x80\x02N.".to_vec(), "T0202"),
        ("unknown instruction", wrap(b"\x8cx"), "T0203"),
        ("instruction of a newer protocol", wrap(b"\x95"), "T0203"),
        ("os.system", wrap(b"cos\nsystem\n"), "T0204"),
        ("unknown storage", wrap(b"ctorch\nTypedStorage\n"), "T0204"),
        ("call of a class", wrap(b"ctorch\nFloatStorage\n)R"), "T0205"),
        ("stack underflow", wrap(b"\x85"), "T0205"),
        ("pop below a mark", wrap(b"N(\x85t"), "T0205"),
        ("no mark", wrap(b"t"), "T0205"),
        ("long integer of 255 bytes", wrap(b"\x8a\xff"), "T0205"),
        ("key without value", wrap(b"}(Nu"), "T0205"),
        ("object without state", wrap(b"c__torch__\nM\n)\x81"), "T0205"),
        ("huge memo position", wrap(&put(u32::MAX)), "T0206"),
        ("memo read before set", wrap(b"h\x05"), "T0206"),
        ("memo set twice", wrap(b"Nq\x00q\x00"), "T0206"),
        ("nesting", wrap(&deep), "T0207"),
        ("huge string", wrap(b"X\xff\xff\xff\xff"), "T0201"),
        ("class name is no text", wrap(b"c__torch__\n\xff\n)\x81}b"), "T0210"),
        ("two values", wrap(b"NN"), "T0211"),
        ("open mark", wrap(b"(N"), "T0211"),
        ("bytes behind the end", [wrap(b"N"), b"N".to_vec()].concat(), "T0212"),
        ("list in itself", wrap(b"]q\x00(h\x00e"), "T0213"),
        ("object in itself", wrap(b"c__torch__\nM\n)\x81q\x00}(X\x01\x00\x00\x00ah\x00ub"), "T0213"),
        ("attribute twice", wrap(b"c__torch__\nM\n)\x81}(X\x01\x00\x00\x00aNX\x01\x00\x00\x00aNub"), "T0214"),
    ];
    for (name, bytes, expected) in cases {
        assert_eq!(code(&bytes), expected, "{name}");
    }
}

#[test]
fn too_many_instructions_name_the_limit() {
    let limits = Limits { pickle_ops: 10, ..Limits::default() };
    let error = Pickle::read("data.pkl", wrap(&[b'('; 20]), &limits).unwrap_err();
    assert_eq!(error.code(), "T0208");
    assert!(error.help().unwrap().contains("--memory-limit 1073741824"));
}
