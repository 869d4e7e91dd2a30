//! What sagas hold of other people's money and goods.

use farmera_proto::common::v1::Money;
use farmera_proto::saga::v1::Exposure;

use crate::output::words::{amount, counted};

/// Money that is held or taken, plus goods that are reserved at order value: `240.00 EUR`, several currencies side by
/// side; `-` when nothing is held.
#[must_use]
pub fn shown(exposures: &[Exposure]) -> String {
    let each: Vec<String> = exposures
        .iter()
        .filter(|one| sum(one) != 0 || one.reserved_units != 0)
        .map(|one| of(&one.currency_code, sum(one)))
        .collect();
    if each.is_empty() { "-".to_owned() } else { each.join(" + ") }
}

/// The parts of it: `240.00 EUR captured, 3 units reserved`.
#[must_use]
pub fn parts(exposure: &Exposure) -> Vec<String> {
    let code = &exposure.currency_code;
    let mut parts = Vec::new();
    for (minor_units, what) in
        [(exposure.authorized_minor_units, "authorized"), (exposure.captured_minor_units, "captured")]
    {
        if minor_units != 0 {
            parts.push(format!("{} {what}", of(code, minor_units)));
        }
    }
    if exposure.reserved_units != 0 || exposure.reserved_minor_units != 0 {
        let units = counted(u64::try_from(exposure.reserved_units).unwrap_or(0), "unit");
        parts.push(format!("{units} reserved ({})", of(code, exposure.reserved_minor_units)));
    }
    parts
}

/// An amount with its sign.
#[must_use]
pub fn of(code: &str, minor_units: i64) -> String {
    amount(Some(&Money { currency_code: code.to_owned(), minor_units }))
}

fn sum(exposure: &Exposure) -> i64 {
    exposure
        .authorized_minor_units
        .saturating_add(exposure.captured_minor_units)
        .saturating_add(exposure.reserved_minor_units)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_and_goods_are_added_up_per_currency() {
        let euro = Exposure {
            currency_code: "EUR".to_owned(),
            authorized_minor_units: 1_250,
            reserved_minor_units: 1_250,
            reserved_units: 3,
            ..Exposure::default()
        };
        let nothing = Exposure { currency_code: "JPY".to_owned(), ..Exposure::default() };
        assert_eq!(shown(&[euro.clone(), nothing]), "25.00 EUR");
        assert_eq!(shown(&[]), "-");
        assert_eq!(parts(&euro), ["12.50 EUR authorized", "3 units reserved (12.50 EUR)"]);
    }
}
