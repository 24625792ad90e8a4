//! NNI's call on a graph of the `tensorflow` crate, which is then trained with the crate's own session:
//! `TENSORFLOW_DIR=<folder with libtensorflow.so> cargo run -p tf-rewriter --example train_graph`.

#![expect(clippy::print_stdout, reason = "an example prints what it did")]
#![expect(clippy::cast_precision_loss, clippy::cast_possible_wrap, reason = "small numbers")]

use std::error::Error;
use std::fs::File;

use ndarray::{Array1, Array4, Axis};
use ndarray_npy::NpzReader;
use quant_math::Quantizer;
use quant_math::config::ConfigList;
use tensorflow::{
    DataType, Graph, ImportGraphDefOptions, Operation, OperationDescription, Output, Session, SessionOptions,
    SessionRunArgs, Status, Tensor,
};
use tf_rewriter::run::{self, QatQuantizer};
use tf_rewriter::training::{INIT, IS_TRAINING};

const CONFIG_LIST: &str = "
config_list = [
    {'op_types': ['default'], 'quant_types': ['weight'], 'quant_bits': 4},
    {'op_types': ['Relu6'], 'quant_types': ['output'], 'quant_bits': 8},
]";
const EPOCHS: usize = 5;
const BATCH: usize = 32;
const LEARNING_RATE: f32 = 0.01;

fn main() -> Result<(), Box<dyn Error>> {
    run::load()?;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");

    // A model of yours has variables already; this one was frozen.
    let trainable = tf_rewriter::Graph::open(format!("{folder}/models/digits.pb"))?.into_trainable()?;
    let mut float = Graph::new();
    float.import_graph_def(trainable.graph.bytes(), &ImportGraphDefOptions::new())?;

    let config_list = ConfigList::parse(CONFIG_LIST, Some(Quantizer::Qat))?;
    let mut graph: Graph = QatQuantizer::new(&float, &config_list)?.compress()?;

    let labels =
        add(&mut graph, "Placeholder", "labels", &[], |node| Ok(node.set_attr_type("dtype", DataType::Int64)?))?;
    let (depth, axis) =
        (constant(&mut graph, "depth", Tensor::from(10i32))?, constant(&mut graph, "axis", Tensor::from([0i32]))?);
    let (on, off) = (constant(&mut graph, "on", Tensor::from(1f32))?, constant(&mut graph, "off", Tensor::from(0f32))?);
    let wanted = add(&mut graph, "OneHot", "wanted", &[labels.clone(), depth, on, off], |_| Ok(()))?;
    let logits = output(&graph, "logits")?;
    let losses = add(&mut graph, "SoftmaxCrossEntropyWithLogits", "losses", &[logits.clone(), wanted], |_| Ok(()))?;
    let loss = add(&mut graph, "Mean", "loss", &[losses, axis], |_| Ok(()))?;
    let rate = constant(&mut graph, "rate", Tensor::from(LEARNING_RATE))?;
    let variables =
        trainable.variables.iter().map(|variable| output(&graph, &variable.variable)).collect::<Result<Vec<_>, _>>()?;
    let gradients = graph.add_gradients(None, std::slice::from_ref(&loss), &variables, None)?;
    let mut steps = Vec::new();
    for (position, (variable, gradient)) in variables.into_iter().zip(gradients).enumerate() {
        let Some(gradient) = gradient else { continue };
        let inputs = [variable, rate.clone(), gradient];
        steps.push(
            add(&mut graph, "ResourceApplyGradientDescent", &format!("step_{position}"), &inputs, |_| Ok(()))?
                .operation,
        );
    }

    let session = Session::new(&SessionOptions::new(), &graph)?;
    for name in [trainable.init.as_str(), INIT] {
        let mut init = SessionRunArgs::new();
        init.add_target(&graph.operation_by_name_required(name)?);
        session.run(&mut init)?;
    }
    let image = output(&graph, "image")?.operation;
    let (images, classes) = read(&format!("{folder}/data/digits_train.npz"))?;
    for epoch in 1..=EPOCHS {
        let mut sum = 0.0;
        for (images, classes) in images.axis_chunks_iter(Axis(0), BATCH).zip(classes.axis_chunks_iter(Axis(0), BATCH)) {
            let (batch, wanted) = (tensor(images.shape(), images.iter())?, tensor(classes.shape(), classes.iter())?);
            let mut run = SessionRunArgs::new();
            run.add_feed(&image, 0, &batch);
            run.add_feed(&labels.operation, 0, &wanted);
            for step in &steps {
                run.add_target(step);
            }
            let fetch = run.request_fetch(&loss.operation, 0);
            session.run(&mut run)?;
            sum += run.fetch::<f32>(fetch)?.iter().sum::<f32>();
        }
        println!("epoch {epoch}: loss {:.4}", sum / images.len_of(Axis(0)).div_ceil(BATCH) as f32);
    }

    let (images, classes) = read(&format!("{folder}/data/digits_test.npz"))?;
    let (batch, no) = (tensor(images.shape(), images.iter())?, Tensor::from(false));
    let mut run = SessionRunArgs::new();
    run.add_feed(&image, 0, &batch);
    run.add_feed(&graph.operation_by_name_required(IS_TRAINING)?, 0, &no);
    let fetch = run.request_fetch(&logits.operation, logits.index);
    session.run(&mut run)?;
    let scores = run.fetch::<f32>(fetch)?;
    let best = |row: &[f32]| row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(class, _)| class as i64);
    let right = scores.chunks(10).zip(&classes).filter(|(row, class)| best(row) == Some(**class)).count();
    println!("accuracy: {:.2} %", 100.0 * right as f64 / classes.len() as f64);
    Ok(())
}

fn add(
    graph: &mut Graph,
    kind: &str,
    name: &str,
    inputs: &[Output],
    attributes: impl FnOnce(&mut OperationDescription<'_>) -> Result<(), Status>,
) -> Result<Output, Status> {
    let mut node = graph.new_operation(kind, &format!("training/{name}"))?;
    for input in inputs {
        node.add_input(input.clone());
    }
    attributes(&mut node)?;
    Ok(Output { operation: node.finish()?, index: 0 })
}

fn constant<T: tensorflow::TensorType>(graph: &mut Graph, name: &str, value: Tensor<T>) -> Result<Output, Status> {
    add(graph, "Const", name, &[], |node| {
        node.set_attr_type("dtype", T::data_type())?;
        node.set_attr_tensor("value", value)
    })
}

fn output(graph: &Graph, name: &str) -> Result<Output, Status> {
    let operation: Operation = graph.operation_by_name_required(name)?;
    Ok(Output { operation, index: 0 })
}

fn tensor<'a, T: tensorflow::TensorType>(
    shape: &[usize],
    values: impl Iterator<Item = &'a T>,
) -> Result<Tensor<T>, Status> {
    let dims: Vec<u64> = shape.iter().map(|dim| *dim as u64).collect();
    let values: Vec<T> = values.cloned().collect();
    Tensor::new(&dims).with_values(&values)
}

fn read(path: &str) -> Result<(Array4<f32>, Array1<i64>), Box<dyn Error>> {
    let mut archive = NpzReader::new(File::open(path)?)?;
    Ok((archive.by_name("image")?, archive.by_name("label")?))
}
