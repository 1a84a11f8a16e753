//! Arithmetic over many numbers at once, written so that the compiler makes vector instructions of it.
//!
//! Sums are split over partial sums and added up in one order, whatever the machine's vectors are: results are the same to
//! the bit with all of them. Called within [`pulp::Arch::dispatch`], these use the best the processor has.

/// Partial sums of what is short.
pub(crate) const LANES: usize = 8;

/// Sum of products over whole groups of `N`, in `N` partial sums; what is beyond the shorter slice's last group is left out.
#[inline(always)]
pub(crate) fn dot<const N: usize>(left: &[f32], right: &[f32]) -> f32 {
    let mut sums = [0.0_f32; N];
    for (left, right) in left.as_chunks::<N>().0.iter().zip(right.as_chunks::<N>().0) {
        for lane in 0..N {
            sums[lane] += left[lane] * right[lane];
        }
    }
    // Kept apart: LLVM would rather shape the sums above after the order of those below, two lanes at a time.
    let mut sums = std::hint::black_box(sums);
    let mut width = N;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
    }
    sums[0]
}

/// The largest of these and `least`; what is no number does not count.
#[inline(always)]
pub(crate) fn largest(values: impl Iterator<Item = [f32; LANES]>, least: f32) -> f32 {
    let mut most = [least; LANES];
    for values in values {
        for lane in 0..LANES {
            most[lane] = if values[lane] > most[lane] { values[lane] } else { most[lane] };
        }
    }
    std::hint::black_box(most).into_iter().fold(least, f32::max)
}

/// Natural logarithms in place, to within 1.5e-7 of the result or of 1, whichever is larger. The numbers are positive, finite and normal.
///
/// The polynomial is that of Cephes' `logf` (S. Moshier, 1992).
#[inline(always)]
pub(crate) fn ln_in_place(values: &mut [f32]) {
    for value in values {
        *value = ln(*value);
    }
}

#[inline(always)]
#[expect(clippy::excessive_precision, reason = "as published")]
fn ln(value: f32) -> f32 {
    /// The bits of the root of a half: mantissas are taken from there to the root of 2.
    const ROOT_HALF: u32 = 0x3f35_04f3;
    let bits = value.to_bits().wrapping_sub(ROOT_HALF);
    let exponent = (bits.cast_signed() >> 23) as f32;
    let x = f32::from_bits((bits & 0x007f_ffff) + ROOT_HALF) - 1.0;
    let square = x * x;
    let mut y = 7.037_683_629_2e-2;
    for coefficient in [
        -1.151_461_031_0e-1,
        1.167_699_874_0e-1,
        -1.242_014_084_6e-1,
        1.424_932_278_7e-1,
        -1.666_805_766_5e-1,
        2.000_071_476_5e-1,
        -2.499_999_399_3e-1,
        3.333_333_117_4e-1,
    ] {
        y = y * x + coefficient;
    }
    // The logarithm of 2 in two parts, the larger exact.
    let y = y * x * square - 2.121_944_40e-4 * exponent - 0.5 * square;
    x + y + 0.693_359_375 * exponent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_are_those_of_f64() {
        let mut widest = 0.0_f64;
        // Every 1,009th of all positive normal numbers.
        for bits in (f32::MIN_POSITIVE.to_bits()..f32::MAX.to_bits()).step_by(1_009) {
            let value = f32::from_bits(bits);
            let expected = f64::from(value).ln();
            widest = widest.max((f64::from(ln(value)) - expected).abs() / expected.abs().max(1.0));
        }
        assert!(widest < 1.5e-7, "{widest}");
        assert_eq!(ln(1.0), 0.0);
    }

    #[test]
    fn the_largest_is_found_in_every_lane() {
        for at in 0..3 * LANES {
            let mut values = [[-2.0, -3.0, f32::NAN, -9.0, -2.5, f32::NEG_INFINITY, -2.0, -4.0]; 3];
            values.as_flattened_mut()[at] = -1.0;
            assert_eq!(largest(values.into_iter(), f32::MIN), -1.0);
            assert_eq!(largest(values.into_iter(), 3.0), 3.0);
        }
    }

    #[test]
    fn sums_of_products_are_those_of_f64() {
        let left: Vec<f32> = (0..64_u16).map(|n| f32::from(n * 37 % 101) - 50.0).collect();
        let right: Vec<f32> = (0..64_u16).map(|n| f32::from(n * 53 % 97) / 7.0).collect();
        let expected: f64 = left.iter().zip(&right).map(|(l, r)| f64::from(*l) * f64::from(*r)).sum();
        assert!((f64::from(dot::<LANES>(&left, &right)) - expected).abs() < 1e-2);
    }
}
