//! What is printed: faults, how often each happened, and what came of it.

use farmera::output::{self, Paint};

/// One kind of fault.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Its name.
    pub name: String,
    /// How often it was asked for.
    pub wanted: u64,
    /// How often it happened.
    pub fired: u64,
    /// Violations found in the phase it belongs to.
    pub violations: u64,
}

impl Fault {
    /// A kind of fault, before its phase was judged.
    #[must_use]
    pub fn new(name: impl Into<String>, wanted: u64, fired: u64) -> Self {
        Self { name: name.into(), wanted, fired, violations: 0 }
    }

    /// True when it happened as often as was asked for.
    #[must_use]
    pub fn happened(&self) -> bool {
        self.fired >= self.wanted && self.fired > 0
    }
}

/// One invariant, over all phases.
#[derive(Clone, Debug)]
pub struct Finding {
    /// `I5`.
    pub id: &'static str,
    /// What must be true.
    pub claim: &'static str,
    /// What it reads.
    pub reads: &'static str,
    /// How many things were looked at.
    pub checked: u64,
    /// What is wrong, in words; at most a few are kept.
    pub wrong: Vec<String>,
}

/// How many examples of what is wrong are named.
const EXAMPLES_MAX: usize = 5;

/// Fault x times fired x violations.
pub fn print_faults(faults: &[Fault], paint: Paint) {
    let mut table = paint.table(&["fault", "asked for", "fired", "violations"], &[1, 2, 3]);
    for fault in faults {
        let mark = if fault.happened() { String::new() } else { "  TOO FEW".to_owned() };
        table.add_row([
            fault.name.clone(),
            output::grouped(fault.wanted),
            format!("{}{mark}", output::grouped(fault.fired)),
            output::grouped(fault.violations),
        ]);
    }
    output::table(&table);
}

/// Invariant x checked x wrong.
pub fn print_findings(findings: &[Finding], paint: Paint) {
    let mut table = paint.table(&["", "must be true", "read from", "checked", "wrong"], &[3, 4]);
    for finding in findings {
        table.add_row([
            finding.id.to_owned(),
            finding.claim.to_owned(),
            finding.reads.to_owned(),
            output::grouped(finding.checked),
            output::grouped(finding.wrong.len() as u64),
        ]);
    }
    output::table(&table);
    for finding in findings.iter().filter(|finding| !finding.wrong.is_empty()) {
        for example in finding.wrong.iter().take(EXAMPLES_MAX) {
            output::line(format!("  {} {}: {example}", paint.bad("WRONG"), finding.id));
        }
        if finding.wrong.len() > EXAMPLES_MAX {
            output::line(format!(
                "  {} {}: and {} more",
                paint.bad("WRONG"),
                finding.id,
                finding.wrong.len() - EXAMPLES_MAX
            ));
        }
    }
}
