//! The probe engine on real activations: how much work an optimum takes, when to stop, and how long a study takes.
//!
//! ```text
//! cargo bench --bench solver -- table DATA [draws=N] [PROTOTYPE] [newton] [fista] [owlqn]
//!                                                        work and depth to KKT 1e-2 … 1e-6, of these solvers or of all
//! cargo bench --bench solver -- auto DATA                Newton and FISTA to the default stopping rule, by size
//! cargo bench --bench solver -- stopping DATA            what each stopping rule costs and changes
//! cargo bench --bench solver -- batch DATA PEERS.json    7 layers × 10 λ × 5 tasks, beside NeuroX's training
//! cargo bench --bench solver -- single DATA PEERS.json   one probe beside scikit-learn and skglm
//! cargo bench --bench solver -- adam DATA [PEERS.json]   NeuroX's training in lockstep, beside NeuroX
//! ```
//!
//! DATA holds `train`, `dev` and `test.safetensors` with the tasks fine, coarse and control (MiniLM activations of Python
//! tokens, 12,000 × 2,688). PROTOTYPE is a text file of an f64 prototype's runs. OWL-QN (Andrew & Gao 2007) is
//! libLBFGS's, a peer. One JSON document goes to stdout, a Markdown table to stderr.

mod adam;
mod auto;
mod batch;
mod owlqn;
mod set;
mod single;
mod stopping;
mod table;

use std::io::Write;
use std::path::PathBuf;

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let (Some(mode), Some(data)) = (arguments.first(), arguments.get(1)) else {
        let _ = writeln!(
            std::io::stderr(),
            "solver: nothing to do; cargo bench --bench solver -- table|auto|stopping|batch|single|adam DATA [FILE]"
        );
        return;
    };
    let set = set::Set::read(&PathBuf::from(data)).expect("the data can be read");
    let extra = arguments.get(2).map(PathBuf::from);
    let report = match mode.as_str() {
        "table" => table::run(&set, &arguments[2..]),
        "auto" => auto::run(&set),
        "stopping" => stopping::run(&set),
        "batch" => batch::run(&set, extra.as_deref()),
        "single" => single::run(&set, extra.as_deref()),
        "adam" => adam::run(&set, extra.as_deref()),
        other => panic!("{other} is not table, auto, stopping, batch, single or adam"),
    };
    let _ = writeln!(
        std::io::stdout(),
        "{}",
        serde_json::to_string_pretty(&report.expect("the probes can be fitted"))
            .expect("a JSON value prints")
    );
}
