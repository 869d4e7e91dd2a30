//! Chance that repeats itself: everything in a run that might be otherwise is drawn here, from the seed.

/// xoshiro256**, seeded by splitmix64: small, quick, and the same on every machine.
#[derive(Clone, Debug)]
pub struct Chance([u64; 4]);

impl Chance {
    /// The chance of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut state = seed;
        Self(std::array::from_fn(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        }))
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        let [one, two, three, four] = self.0;
        let drawn = two.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let (three, four) = (three ^ one, four ^ two);
        self.0 = [one ^ four, two ^ three, three ^ (two << 17), four.rotate_left(45)];
        drawn
    }

    /// A number below `end`; 0 when `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.draw() % end }
    }

    /// A number from `first` to `last`, both included.
    pub fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last.saturating_sub(first).saturating_add(1))
    }

    /// True `rate` times in 10,000.
    pub fn strikes(&mut self, rate: u32) -> bool {
        rate > 0 && self.below(10_000) < u64::from(rate)
    }

    /// One of these; `None` when there are none.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        let index = self.below(of.len() as u64);
        of.get(usize::try_from(index).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_draws_the_same_and_another_draws_otherwise() {
        let drawn = |seed| {
            let mut chance = Chance::new(seed);
            std::array::from_fn::<u64, 8, _>(|_| chance.draw())
        };
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
    }

    #[test]
    fn a_rate_is_kept_about_as_often_as_it_says() {
        let mut chance = Chance::new(7);
        let struck = (0..100_000).filter(|_| chance.strikes(500)).count();
        assert!((4_500..5_500).contains(&struck), "{struck} of 100,000");
        assert!(!chance.strikes(0));
    }
}
