//! Readers: path → activations, labels, words. The only place that opens input files; one format per file.
