//! Errors of a quantised file's tensors against the tensors of its original.

use lilims_gguf::{File, TensorInfo};
use serde::Serialize;

use crate::Error;

/// Values that are decoded at once: whole blocks of every type.
const PIECE_VALUES: u64 = 1 << 16;

/// The error of one tensor against the same tensor of another file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TensorError {
    /// The tensor's name.
    pub name: String,
    /// Its type in the quantised file.
    #[serde(rename = "type")]
    pub tensor_type: String,
    /// The number of values.
    pub values: u64,
    /// The root of the mean square of the original's values.
    pub rms: f64,
    /// The root of the mean squared error.
    pub rmse: f64,
}

impl TensorError {
    /// The error relative to the values; 0 for a tensor of zeros that was kept.
    pub fn relative(&self) -> f64 {
        if self.rmse == 0.0 { 0.0 } else { self.rmse / self.rms }
    }
}

/// Compares all tensors of `base` with those of the same names in `other`.
///
/// # Errors
/// [`Error::Engine`] if a tensor is missing or a file changed, [`Error::Shape`],
/// [`Error::Decode`].
pub fn tensor_errors(base: &File, other: &File) -> Result<Vec<TensorError>, Error> {
    let errors = base.tensors().iter().map(|tensor| {
        let same = other.tensor(&tensor.name).map_err(lilims_engine::Error::from)?;
        error_of((base, tensor), (other, same))
    });
    let errors = errors.collect::<Result<_, _>>()?;
    for file in [base, other] {
        file.check_unchanged().map_err(lilims_engine::Error::from)?;
    }
    Ok(errors)
}

fn error_of(base: (&File, &TensorInfo), other: (&File, &TensorInfo)) -> Result<TensorError, Error> {
    let (tensor, same) = (base.1, other.1);
    if tensor.dims != same.dims {
        return Err(Error::Shape {
            tensor: tensor.name.clone(),
            base: tensor.dims.clone(),
            other: same.dims.clone(),
        });
    }
    let (mut squares, mut squared_errors) = (0.0, 0.0);
    let (mut values, mut decoded) = (Vec::new(), Vec::new());
    for start in (0..tensor.n_values).step_by(PIECE_VALUES as usize) {
        let end = (start + PIECE_VALUES).min(tensor.n_values);
        decode(base, start..end, &mut values)?;
        decode(other, start..end, &mut decoded)?;
        for (&value, &decoded) in values.iter().zip(&decoded) {
            squares += f64::from(value).powi(2);
            squared_errors += (f64::from(decoded) - f64::from(value)).powi(2);
        }
    }
    let root = |sum: f64| (sum / (tensor.n_values as f64).max(1.0)).sqrt();
    Ok(TensorError {
        name: tensor.name.clone(),
        tensor_type: same.tensor_type.to_string(),
        values: tensor.n_values,
        rms: root(squares),
        rmse: root(squared_errors),
    })
}

/// Decodes a range of a tensor's values, which starts and ends at blocks, into `out`.
fn decode(
    (file, tensor): (&File, &TensorInfo),
    range: std::ops::Range<u64>,
    out: &mut Vec<f32>,
) -> Result<(), Error> {
    let data = file.data(tensor).map_err(lilims_engine::Error::from)?;
    let ty = tensor.tensor_type;
    // `data` rejects types of unknown size, and a tensor holds whole blocks.
    let offset = |values| ty.size_bytes(values).unwrap_or_default() as usize;
    out.resize((range.end - range.start) as usize, 0.0);
    let blocks = &data[offset(range.start)..offset(range.end)];
    lilims_quant::dequantize(ty, blocks, out)
        .map_err(|source| Error::Decode { tensor: tensor.name.clone(), source })
}

#[cfg(test)]
mod tests {
    use lilims_gguf::{TensorType, Writer};

    use super::*;

    /// Two rows are more than one piece.
    const COLUMNS: usize = PIECE_VALUES as usize - 64;

    /// A file with a tensor of two rows.
    fn file(ty: TensorType, values: &[f32]) -> File {
        let data = match ty {
            TensorType::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            _ => {
                let mut data = vec![0; ty.size_bytes(values.len() as u64).unwrap() as usize];
                lilims_quant::quantize(ty, values, None, &mut data).unwrap();
                data
            }
        };
        let (mut bytes, dims) = (Vec::new(), [values.len() as u64 / 2, 2]);
        Writer::default().tensor("w", &dims, ty, data).write(&mut bytes).unwrap();
        File::from_bytes(bytes).unwrap()
    }

    #[test]
    fn errors_are_measured_over_all_pieces() {
        // Q8_0 keeps multiples of the largest value's 127th part, so only the last block has errors.
        let mut values: Vec<f32> = (0..2 * COLUMNS).map(|idx| (idx % 32) as f32 * 4.0).collect();
        values.iter_mut().skip(31).step_by(32).for_each(|value| *value = 127.0);
        let base = file(TensorType::F32, &values);
        let exact = tensor_errors(&base, &file(TensorType::Q8_0, &values)).unwrap();
        assert_eq!((exact[0].rmse, exact[0].relative()), (0.0, 0.0));
        assert_eq!((exact[0].name.as_str(), exact[0].tensor_type.as_str()), ("w", "Q8_0"));
        let first = 2 * COLUMNS - 32;
        values[first] = 0.25;
        let found = tensor_errors(&file(TensorType::F32, &values), &base).unwrap();
        let expected = 0.25 / (values.len() as f64).sqrt();
        assert!((found[0].rmse - expected).abs() < 1e-12, "{found:?}");
        assert!((found[0].relative() - found[0].rmse / found[0].rms).abs() < 1e-12);
    }

    #[test]
    fn other_shapes_and_missing_tensors_are_errors() {
        let base = file(TensorType::F32, &[1.0; 64]);
        let error = tensor_errors(&base, &file(TensorType::F32, &[1.0; 128])).unwrap_err();
        assert!(matches!(&error, Error::Shape { tensor, .. } if tensor == "w"), "{error}");
        let mut bytes = Vec::new();
        Writer::default().str("general.name", "none").write(&mut bytes).unwrap();
        let error = tensor_errors(&base, &File::from_bytes(bytes).unwrap()).unwrap_err();
        assert!(error.to_string().contains('w'), "{error}");
    }
}
