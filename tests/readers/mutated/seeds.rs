//! Small good files of every format, which the damage starts from.

use std::collections::HashMap;
use std::io::{Cursor, Write};

use rust_hdf5::H5File;
use safetensors::tensor::{Dtype, TensorView};
use zip::write::SimpleFileOptions;

use super::entry::NEURONS;
use crate::cli::Study;
use crate::readers::fixture;
use crate::report::sample;

const SAMPLES: usize = 4;

/// The fixture's first three sentences.
pub fn of_fixtures(names: &[&str]) -> Vec<Vec<u8>> {
    let read = |name: &&str| std::fs::read(fixture(&format!("readers/{name}"))).unwrap();
    names.iter().map(read).collect()
}

fn values() -> Vec<u8> {
    let values = (0..SAMPLES * NEURONS).map(|i| (i as f32).sin());
    values.flat_map(f32::to_le_bytes).collect()
}

fn tensors(tensors: &[(&str, Dtype, &[usize], Vec<u8>)], metadata: &[(&str, &str)]) -> Vec<u8> {
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        let view = TensorView::new(*dtype, shape.to_vec(), bytes).unwrap();
        ((*name).to_owned(), view)
    });
    let metadata: HashMap<String, String> = metadata
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    safetensors::serialize(views.collect::<Vec<_>>(), Some(metadata)).unwrap()
}

fn integers(list: [i32; SAMPLES]) -> Vec<u8> {
    list.iter().flat_map(|i| i.to_le_bytes()).collect()
}

pub fn native() -> Vec<Vec<u8>> {
    let matrix = || ("activations", Dtype::F32, &[SAMPLES, NEURONS][..], values());
    let rows = &[SAMPLES][..];
    let whole = [
        matrix(),
        ("labels", Dtype::I32, rows, integers([0, 1, 1, 0])),
        ("labels.other", Dtype::I32, rows, integers([2, 0, 1, 0])),
        ("sentence", Dtype::I32, rows, integers([0, 0, 1, 1])),
    ];
    let described = [
        ("layers", "[0, 3]"),
        ("hidden", "3"),
        ("units", "[0, 5, 7]"),
        (
            "classes",
            r#"{"colour": ["red", "blue"], "other": ["a", "b", "c"]}"#,
        ),
        ("primary", "colour"),
    ];
    let counted = [("n_layers", "2"), ("hidden", "3"), ("units", "all")];
    vec![tensors(&whole, &described), tensors(&whole[..1], &counted)]
}

pub fn probe() -> Vec<Vec<u8>> {
    let of = |rows: usize, classes: &str| {
        let floats = |count: usize| {
            (0..count)
                .flat_map(|i| (i as f32 - 1.5).to_le_bytes())
                .collect()
        };
        let doubles: Vec<u8> = (0..NEURONS)
            .flat_map(|i| (i as f64 + 0.5).to_le_bytes())
            .collect();
        let tensors_of = [
            (
                "weights",
                Dtype::F32,
                &[rows, NEURONS][..],
                floats(rows * NEURONS),
            ),
            ("bias", Dtype::F32, &[rows][..], floats(rows)),
            ("mean", Dtype::F64, &[NEURONS][..], doubles.clone()),
            ("scale", Dtype::F64, &[NEURONS][..], doubles),
        ];
        tensors(
            &tensors_of,
            &[("classes", classes), ("standardize", "true")],
        )
    };
    vec![
        of(1, r#"["a", "b"]"#),
        of(3, r#"["a", "b", "c"]"#),
        of(1, "null"),
    ]
}

fn array(descr: &str, fortran: &str, shape: &str, bytes: &[u8]) -> Vec<u8> {
    let header =
        format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': ({shape}), }}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(bytes);
    file
}

pub fn arrays() -> Vec<Vec<u8>> {
    let mut second = array("<f4", "True", "4, 6", &values());
    // Version 2: a length of four bytes.
    second[6] = 2;
    second.splice(10..10, [0, 0]);
    vec![array("<f4", "False", "4, 6", &values()), second]
}

pub fn array_of_labels() -> Vec<Vec<u8>> {
    let bytes: Vec<u8> = [7i64, 0, 3, 3]
        .iter()
        .flat_map(|i| i.to_le_bytes())
        .collect();
    vec![
        array("<i8", "False", "4,", &bytes),
        array("<f8", "False", "4,", &bytes),
    ]
}

pub fn array_of_masks() -> Vec<Vec<u8>> {
    let bytes = [1, 0, 1, 0, 0, 1, 1, 1, 0, 0, 0, 1];
    vec![
        array("|b1", "False", "2, 6", &bytes),
        array("|b1", "True", "2, 6", &bytes),
    ]
}

pub fn archives() -> Vec<Vec<u8>> {
    let matrix = array("<f4", "False", "4, 6", &values());
    let of = |entries: &[(&str, &[u8])], method| {
        let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(method);
        for (name, bytes) in entries {
            archive.start_file(*name, options).unwrap();
            archive.write_all(bytes).unwrap();
        }
        archive.finish().unwrap().into_inner()
    };
    let ids = array("<i8", "False", "1,", &[0; 8]);
    vec![
        of(
            &[("activations.npy", &matrix)],
            zip::CompressionMethod::Stored,
        ),
        of(
            &[("ids.npy", &ids), ("x.npy", &matrix)],
            zip::CompressionMethod::Deflated,
        ),
    ]
}

/// Contiguous and compressed; and those that h5py wrote, one with the sentences' text.
pub fn hierarchies() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.hdf5");
    let values: Vec<f32> = (0..12).map(|i| i as f32).collect();
    let mut found = of_fixtures(&["order.hdf5", "numbered-f64.hdf5"]);
    for compressed in [false, true] {
        let file = H5File::create(&path).unwrap();
        for name in ["0", "1"] {
            let empty = file.new_dataset::<f32>().shape([2, 2, 3]);
            let empty = match compressed {
                true => empty.chunk(&[1, 2, 3]).deflate(6),
                false => empty,
            };
            empty.create(name).unwrap().write_raw(&values).unwrap();
        }
        drop(file);
        found.push(std::fs::read(&path).unwrap());
    }
    found
}

pub fn lines() -> Vec<Vec<u8>> {
    let layers = r#"[{"index": 0, "values": [0.5, -1e-3, 2]}, {"index": 4, "values": [1, 2, 3]}]"#;
    let line =
        format!(r#"{{"linex_index": 0, "features": [{{"token": "é", "layers": {layers}}}]}}"#);
    vec![format!("{line}\n{line}\n").into_bytes()]
}

pub fn texts(list: &[&str]) -> Vec<Vec<u8>> {
    list.iter().map(|text| text.as_bytes().to_vec()).collect()
}

pub fn results() -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    neurosieve::report::json::write(&sample::results(), &mut bytes).unwrap();
    vec![bytes]
}

/// Units of fits of a run, the smallest first.
pub fn units() -> Vec<Vec<u8>> {
    let study = Study::new(&Study::usual(), "");
    assert!(study.run(&[]).status.success());
    let entries = std::fs::read_dir(study.path("out/units")).unwrap();
    let mut found: Vec<Vec<u8>> = entries
        .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
        .filter(|bytes| neurosieve::study::units::fits_of(bytes, NEURONS).is_some())
        .collect();
    found.sort_by_key(|bytes| (bytes.len(), bytes.clone()));
    found.truncate(4);
    assert_eq!(found.len(), 4, "a study has more units than that");
    found
}
