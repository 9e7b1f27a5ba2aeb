//! The document, field by field.

use neurosieve::bench::gate;
use neurosieve::bench::results::Roof;
use neurosieve::gpu::AdapterReport;
use serde_json::{Value, json};

use super::native;

/// What a field may hold.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Flag,
    Count,
    /// A number above 0.
    Positive,
    /// A number that is not negative.
    Size,
    List,
    Object,
}

use Kind::{Count, Flag, List, Object, Positive, Size, Text};

fn holds(value: &Value, kind: Kind) -> bool {
    match kind {
        Text => value.is_string(),
        Flag => value.is_boolean(),
        Count => value.as_u64().is_some(),
        Positive => value.as_f64().is_some_and(|number| number > 0.0),
        Size => value.as_f64().is_some_and(|number| number >= 0.0),
        List => value.is_array(),
        Object => value.is_object(),
    }
}

/// Fields that must be there, and those that may be null; no others.
fn of(
    place: &str,
    value: &Value,
    needed: &[(&str, Kind)],
    nullable: &[(&str, Kind)],
) -> Vec<String> {
    let mut faults = Vec::new();
    let Some(object) = value.as_object() else {
        return vec![format!("{place} is no object")];
    };
    for (name, kind) in needed {
        match object.get(*name) {
            Some(value) if holds(value, *kind) => {}
            other => faults.push(format!("{place}.{name}: {other:?}")),
        }
    }
    for (name, kind) in nullable {
        match object.get(*name) {
            Some(value) if value.is_null() || holds(value, *kind) => {}
            other => faults.push(format!("{place}.{name}: {other:?}")),
        }
    }
    let known = |name: &str| {
        needed
            .iter()
            .chain(nullable)
            .any(|(known, _)| *known == name)
    };
    let unknown = object.keys().filter(|name| !known(name));
    faults.extend(unknown.map(|name| format!("{place}.{name} is not documented")));
    faults
}

fn of_timing(place: &str, timing: &Value) -> Vec<String> {
    let needed = [
        ("clock", Text),
        ("repetitions", Positive),
        ("median_s", Positive),
        ("min_s", Positive),
        ("mad_s", Size),
    ];
    let mut faults = of(place, timing, &needed, &[]);
    if !matches!(timing["clock"].as_str(), Some("gpu" | "wall")) {
        faults.push(format!("{place}.clock: {}", timing["clock"]));
    }
    if timing["min_s"].as_f64() > timing["median_s"].as_f64() {
        faults.push(format!("{place}: the median is below the fewest seconds"));
    }
    faults
}

/// Valid rows have times and an error within the tolerance; all others have none.
fn of_gate(place: &str, row: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let valid = row["valid"] == true;
    if valid == row["times"].is_null() {
        faults.push(format!(
            "{place}: valid is {}, times {}",
            row["valid"], row["times"]
        ));
    }
    let within = match (row["error"].as_f64(), row["tolerance"].as_f64()) {
        (Some(error), Some(tolerance)) => error <= tolerance,
        _ => false,
    };
    if valid != within {
        faults.push(format!(
            "{place}: valid is {valid}, its error says {within}"
        ));
    }
    faults
}

fn of_roof(place: &str, roof: &Value) -> Vec<String> {
    let needed = [
        ("name", Text),
        ("what", Text),
        ("valid", Flag),
        ("tolerance", Size),
    ];
    let nullable = [("error", Size), ("problem", Text), ("times", Object)];
    let mut faults = of(place, roof, &needed, &nullable);
    faults.extend(of_gate(place, roof));
    let times = &roof["times"];
    if !times.is_null() {
        let needed = [
            ("timing", Object),
            ("work", Positive),
            ("value", Positive),
            ("unit", Text),
        ];
        faults.extend(of(place, times, &needed, &[]));
        faults.extend(of_timing(place, &times["timing"]));
    }
    faults
}

fn of_row(place: &str, row: &Value) -> Vec<String> {
    let needed = [
        ("name", Text),
        ("what", Text),
        ("shape", Text),
        ("valid", Flag),
        ("error_is", Text),
        ("tolerance", Size),
    ];
    let nullable = [("error", Size), ("problem", Text), ("times", Object)];
    let mut faults = of(place, row, &needed, &nullable);
    faults.extend(of_gate(place, row));
    let times = &row["times"];
    if !times.is_null() {
        let nullable = [
            ("flop", Positive),
            ("bytes", Positive),
            ("gflops", Positive),
            ("gbps", Positive),
            ("bound_by", Text),
            ("share_of_roof", Positive),
            ("end_to_end", Object),
            ("cpu_median_s", Positive),
            ("speed_up_over_cpu", Positive),
        ];
        faults.extend(of(place, times, &[("timing", Object)], &nullable));
        faults.extend(of_timing(place, &times["timing"]));
        let whole = &times["end_to_end"];
        if !whole.is_null() {
            let needed = [("with_upload_s", Positive), ("without_upload_s", Positive)];
            faults.extend(of(place, whole, &needed, &[]));
        }
    }
    faults
}

/// What is wrong with a document.
pub(super) fn faults(document: &Value) -> Vec<String> {
    let needed = [
        ("schema_version", Count),
        ("neurosieve_version", Text),
        ("size", Text),
        ("system", Object),
        ("roofs", List),
        ("workloads", List),
        ("seconds", Positive),
    ];
    let mut faults = of("document", document, &needed, &[]);
    if document["schema_version"] != 1 {
        faults.push("schema_version is not 1".to_owned());
    }
    let system = &document["system"];
    let needed = [
        ("os", Text),
        ("arch", Text),
        ("threads", Positive),
        ("device", Text),
        ("features_used", List),
        ("ranked", Flag),
    ];
    let nullable = [
        ("cpu", Text),
        ("memory_bytes", Positive),
        ("adapter", Object),
    ];
    faults.extend(of("system", system, &needed, &nullable));
    if !system["adapter"].is_null() {
        let needed = [
            ("index", Count),
            ("name", Text),
            ("vendor_id", Count),
            ("device_id", Count),
            ("kind", Text),
            ("backend", Text),
            ("driver", Text),
            ("driver_info", Text),
            ("limits", Object),
            ("features", List),
            ("matrix_units", List),
            ("subgroup_threads", Count),
        ];
        faults.extend(of("adapter", &system["adapter"], &needed, &[]));
    }
    let each = |name: &str, check: fn(&str, &Value) -> Vec<String>| -> Vec<String> {
        let rows = document[name].as_array().into_iter().flatten();
        rows.flat_map(|row| check(&format!("{name} {}", row["name"]), row))
            .collect()
    };
    faults.extend(each("roofs", of_roof));
    faults.extend(each("workloads", of_row));
    faults
}

fn document() -> Value {
    serde_json::to_value(native()).expect("results are JSON")
}

#[test]
fn every_field_is_there_and_of_its_type() {
    let document = document();
    assert_eq!(faults(&document), Vec::<String>::new());
    assert!(document["workloads"].as_array().unwrap().len() > 8);
    // A name of the machine or a place on it would be somebody's own.
    let text = document.to_string();
    if let Ok(host) = std::env::var("HOSTNAME") {
        assert!(host.len() < 4 || !text.contains(&host), "{text}");
    }
    assert!(!text.contains(env!("CARGO_MANIFEST_DIR")), "{text}");
}

/// The negative control: each fault is noticed.
#[test]
fn a_field_that_is_gone_or_of_another_type_is_noticed() {
    let fine = document();
    for (place, value) in [
        ("/schema_version", json!(2)),
        ("/system/ranked", json!("yes")),
        ("/system/threads", json!(0)),
        ("/roofs/0/times/value", json!(-1.0)),
        ("/roofs/0/valid", json!(false)),
        ("/workloads/0/times/timing/median_s", json!(0.0)),
        ("/workloads/0/times/timing/clock", json!("sun")),
        ("/workloads/0/times", Value::Null),
        ("/workloads/0/error", json!(1.0)),
        ("/workloads/0/shape", Value::Null),
        ("/workloads/0/times/bound_by", json!(3)),
    ] {
        let mut broken = fine.clone();
        *broken.pointer_mut(place).expect("there is such a field") = value;
        assert!(!faults(&broken).is_empty(), "{place}");
    }
    let mut more = fine;
    more["workloads"][0]["times"]["guess"] = json!(1);
    assert_eq!(faults(&more).len(), 1);
}

/// Files that were written before adapters told of matrix units are still compared.
#[test]
fn an_adapter_that_tells_nothing_of_matrix_units_has_none() {
    let limits = json!({
        "buffer_bytes": 1, "binding_bytes": 1, "workgroup_memory_bytes": 1, "workgroup_threads": 1,
        "workgroups_per_dimension": 1, "storage_buffers": 1
    });
    let old = json!({
        "index": 0, "name": "A card", "vendor_id": 1, "device_id": 1, "kind": "discrete", "backend": "vulkan",
        "driver": "", "driver_info": "", "limits": limits, "features": []
    });
    let adapter: AdapterReport = serde_json::from_value(old).unwrap();
    assert!(adapter.matrix_units.is_empty());
}

#[test]
fn an_error_above_the_tolerance_takes_the_times_away() {
    assert_eq!(gate(1e-6, 5e-6, "times"), (true, Some("times")));
    assert_eq!(gate(5e-6, 5e-6, "times"), (true, Some("times")));
    for error in [5.1e-6, f64::INFINITY, f64::NAN] {
        assert_eq!(gate(error, 5e-6, "times"), (false, None), "{error}");
    }
    // As it is in a document.
    let measured = native().roofs[0].clone();
    let (valid, times) = gate(1.0, measured.tolerance, measured.times);
    let roof = Roof {
        valid,
        times: times.flatten(),
        error: Some(1.0),
        ..native().roofs[0].clone()
    };
    let mut document = document();
    document["roofs"][0] = serde_json::to_value(&roof).unwrap();
    assert_eq!(faults(&document), Vec::<String>::new());
    assert!(document["roofs"][0]["times"].is_null());
}
