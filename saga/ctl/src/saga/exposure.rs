//! What sagas hold of other people's money and goods.

use farmera_proto::common::v1::Money;
use farmera_proto::saga::v1::Exposure;

use crate::output::words::{amount, counted};

/// Money that is held or taken, and goods that are reserved, at order value: `money 240.00 EUR, goods 240.00 EUR`. Never
/// added up: both are of the same order. Several currencies side by side; `-` when nothing is held.
#[must_use]
pub fn shown(exposures: &[Exposure]) -> String {
    let each: Vec<String> = exposures
        .iter()
        .map(|one| {
            let money = one.authorized_minor_units.saturating_add(one.captured_minor_units);
            let goods = (one.reserved_minor_units != 0 || one.reserved_units != 0).then_some(one.reserved_minor_units);
            let named = [("money", Some(money).filter(|money| *money != 0)), ("goods", goods)];
            let named = named.map(|(name, amount)| Some(format!("{name} {}", of(&one.currency_code, amount?))));
            named.into_iter().flatten().collect::<Vec<_>>().join(", ")
        })
        .filter(|one| !one.is_empty())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_and_goods_are_two_amounts_each_with_its_name() {
        let euro = Exposure {
            currency_code: "EUR".to_owned(),
            authorized_minor_units: 1_250,
            reserved_minor_units: 1_250,
            reserved_units: 3,
            ..Exposure::default()
        };
        let nothing = Exposure { currency_code: "JPY".to_owned(), ..Exposure::default() };
        assert_eq!(shown(&[euro.clone(), nothing]), "money 12.50 EUR, goods 12.50 EUR");
        let goods = Exposure { authorized_minor_units: 0, ..euro.clone() };
        assert_eq!(shown(&[goods]), "goods 12.50 EUR");
        assert_eq!(shown(&[]), "-");
        assert_eq!(parts(&euro), ["12.50 EUR authorized", "3 units reserved (12.50 EUR)"]);
    }
}
