//! Tensors as messages: numbers become chunks, and chunks become numbers again.

mod buffers;
mod incoming;
mod payload;
mod shapes;

pub(crate) use buffers::{Pool, Spares};
pub(crate) use incoming::Incoming;
pub(crate) use payload::Payload;
#[cfg(any(test, fuzzing))]
pub(crate) use shapes::layer_of;
pub(crate) use shapes::{Direction, Shapes};

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use nn_core::{Activation, Cost, DeltaBits, Model, Output, Precision, layout, round_to_bf16};
    use nn_engine::{Encoding, Manifest, ManifestParts, Part, Recipe, Rounds};
    use prost::Message;

    use super::*;
    use crate::proto as pb;
    use crate::wire::convert::{Place, weights_header};
    use pb::coordinator_message::Body;

    fn shapes(widths: &[usize]) -> Shapes {
        Shapes::new(&manifest(widths, None))
    }

    fn manifest(widths: &[usize], bits: Option<DeltaBits>) -> Manifest {
        of_precision(widths, bits, Precision::F32)
    }

    fn of_precision(widths: &[usize], bits: Option<DeltaBits>, precision: Precision) -> Manifest {
        let model = Model::new(widths.to_vec(), Activation::Relu, Output::Softmax, Cost::CrossEntropy)
            .unwrap()
            .with_precision(precision);
        let rounds = bits.map(|delta_bits| Rounds {
            replicas: 1,
            steps: Some(1),
            outer_learning_rate: 1.0,
            outer_momentum: 0.0,
            delta_bits,
        });
        let parts = ManifestParts {
            model,
            recipe: Recipe { batch_size: 1, shard_size: 1, rounds, ..Recipe::book() },
            train_samples: 1,
            data_sha256: String::new(),
            preprocess_sha256: None,
        };
        Manifest::new(parts).unwrap()
    }

    /// All framed messages in a buffer, as prost reads them.
    fn messages(mut bytes: &[u8]) -> Vec<pb::CoordinatorMessage> {
        let mut messages = Vec::new();
        while !bytes.is_empty() {
            assert_eq!(bytes[0], 0);
            let length = u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]) as usize;
            messages.push(pb::CoordinatorMessage::decode(&bytes[5..5 + length]).unwrap());
            bytes = &bytes[5 + length..];
        }
        messages
    }

    /// The hand-written encoding is what prost reads, chunk by chunk and number by number.
    #[test]
    fn tensors_survive_the_wire() {
        let place = Place { generation: 3, step: 500, attempt: 0 };
        for (widths, part) in [
            (&[3, 2][..], Part::All),
            (&[3, 2], Part::Layer(0)),
            (&[700, 1000, 3], Part::Layer(0)),
            (&[700, 1000, 3], Part::Layer(1)),
            (&[700, 1000, 3], Part::All),
            (&[511, 512, 1], Part::Layer(0)), // exactly one chunk
        ] {
            let shapes = shapes(widths);
            let values: Vec<f32> =
                (0..shapes.range(part).unwrap().len()).map(|i| i as f32 * 0.37 - 5.0).collect();
            let copied = Payload::copied(Encoding::F32, &values, &mut Spares::default());
            let shared = Payload::shared(Pool::default().seal(Encoding::F32, values.clone()));
            let framed = copied.messages(place, part, |tensor| weights_header(place, tensor));
            let again = shared.messages(place, part, |tensor| weights_header(place, tensor));
            assert_eq!(framed.0, again.0);
            let mut messages = messages(&framed.0.concat()).into_iter();
            let first = messages.next().unwrap();
            assert_eq!((first.generation, first.step, first.attempt), (3, 500, 0));
            let Some(Body::WeightsHeader(pb::WeightsHeader { tensor: Some(header) })) = first.body else {
                panic!("{first:?}")
            };
            let whole: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
            assert_eq!(header.crc32, crc32fast::hash(&whole));
            let mut incoming = Incoming::new(&shapes, Direction::Down, &header).unwrap();
            assert_eq!(incoming.part(), part);
            let mut got = vec![0.0; values.len()];
            for message in messages {
                assert_eq!((message.generation, message.step), (3, 500));
                let Some(Body::WeightsChunk(chunk)) = message.body else { panic!() };
                assert!(!incoming.is_complete());
                incoming.chunk_into(&chunk, &mut got).unwrap();
            }
            assert!(incoming.is_complete());
            assert_eq!(got, values);
        }
    }

    /// Differences arrive the same, compact or not; and a compact tensor that was changed on its way is refused.
    #[test]
    fn compact_tensors_survive_the_wire() {
        let place = Place { generation: 0, step: 1, attempt: 0 };
        for bits in [DeltaBits::Eight, DeltaBits::Four, DeltaBits::Exact] {
            let shapes = Shapes::new(&manifest(&[700, 1900, 3], Some(bits)));
            let part = Part::Layer(0);
            let (numbers, encoding) =
                (shapes.range(part).unwrap().len(), shapes.encoding(Direction::Up, part));
            let mut blocks = vec![0; encoding.bytes_for(numbers)];
            if bits == DeltaBits::Exact {
                blocks.fill(63);
            } else {
                let size = encoding.bytes_for(1);
                for (i, byte) in blocks.iter_mut().enumerate() {
                    *byte = if i % size == 0 { 120 } else { u8::from(i % 7 == 0) };
                }
            }
            let blocks = Bytes::from(blocks);
            let mut want = vec![0.0; numbers];
            encoding.decode(&blocks, &mut want);
            let length_of = |compact: bool| {
                let payload = if compact { Payload::compacted } else { Payload::encoded };
                let framed =
                    payload(encoding, numbers, &blocks).messages(place, part, |t| weights_header(place, t));
                let mut messages = messages(&framed.0.concat()).into_iter();
                let Some(Body::WeightsHeader(pb::WeightsHeader { tensor: Some(header) })) =
                    messages.next().unwrap().body
                else {
                    panic!()
                };
                let chunks: Vec<pb::TensorChunk> = messages
                    .map(|message| match message.body {
                        Some(Body::WeightsChunk(chunk)) => chunk,
                        other => panic!("{other:?}"),
                    })
                    .collect();
                assert!(chunks.iter().all(|chunk| chunk.compact == (compact && bits != DeltaBits::Exact)));
                let mut incoming = Incoming::new(&shapes, Direction::Up, &header).unwrap();
                let raw: Vec<Bytes> =
                    chunks.iter().map(|chunk| incoming.chunk(chunk.clone()).unwrap()).collect();
                assert!(incoming.is_complete() && raw.concat() == blocks);
                let mut incoming = Incoming::new(&shapes, Direction::Up, &header).unwrap();
                let mut got = vec![0.0; numbers];
                for chunk in &chunks {
                    incoming.chunk_into(chunk, &mut got).unwrap();
                }
                assert!(got == want);
                let mut spoilt = chunks[0].clone();
                spoilt.data = [&spoilt.data[..spoilt.data.len() - 1], &[99]].concat().into();
                let mut incoming = Incoming::new(&shapes, Direction::Up, &header).unwrap();
                assert!(incoming.chunk(spoilt).is_err());
                chunks.iter().map(|chunk| chunk.data.len()).sum::<usize>()
            };
            let (plain, compact) = (length_of(false), length_of(true));
            assert!(if bits == DeltaBits::Exact { compact == plain } else { compact * 2 < plain });
        }
    }

    /// In a run with bf16 weights arrive as the products round them, in about half the bytes, and biases as they are. With rounds,
    /// workers need all of their bits.
    #[test]
    fn weights_that_are_rounded_anyway_take_half_the_bytes() {
        let place = Place { generation: 0, step: 1, attempt: 0 };
        for (widths, part) in [
            (&[3, 2][..], Part::All),
            (&[700, 1000, 3], Part::Layer(0)),
            (&[700, 1000, 3], Part::Layer(1)),
            (&[700, 1000, 3], Part::All),
            (&[512, 512, 1], Part::Layer(0)),
        ] {
            let manifest = of_precision(widths, None, Precision::Bf16);
            let shapes = Shapes::new(&manifest);
            let range = shapes.range(part).unwrap();
            let values: Vec<f32> =
                range.clone().map(|i| (i as f32 * 0.37 - 5.0) * 1.000_01_f32.powi(i as i32 % 999)).collect();
            let payload = Payload::rounded(&values, &shapes.rounded(part));
            let framed = payload.messages(place, part, |tensor| weights_header(place, tensor));
            let mut messages = messages(&framed.0.concat()).into_iter();
            let Some(Body::WeightsHeader(pb::WeightsHeader { tensor: Some(header) })) =
                messages.next().unwrap().body
            else {
                panic!()
            };
            let mut incoming = Incoming::new(&shapes, Direction::Down, &header).unwrap();
            let (mut got, mut bytes) = (vec![0.0; values.len()], 0);
            for message in messages {
                let Some(Body::WeightsChunk(chunk)) = message.body else { panic!() };
                bytes += chunk.data.len();
                incoming.chunk_into(&chunk, &mut got).unwrap();
            }
            assert!(incoming.is_complete());
            let layers = layout(manifest.model());
            let is_weight = |i: usize| layers.iter().any(|layer| layer.weights.contains(&(range.start + i)));
            let mut rounded = 0;
            for (i, (&x, &got)) in values.iter().zip(&got).enumerate() {
                assert!(
                    got == x || is_weight(i) && got == round_to_bf16(x),
                    "{widths:?} {part:?} {i}: {x}, {got}"
                );
                rounded += usize::from(got != x);
            }
            let whole = 4 * values.len();
            assert!(
                if whole < 20_000 { bytes <= whole } else { bytes * 100 < whole * 52 },
                "{bytes} of {whole}"
            );
            assert!(whole < 20_000 || rounded * 10 > values.len() * 9);
        }
        let in_rounds = of_precision(&[700, 1000, 3], Some(DeltaBits::Eight), Precision::Bf16);
        assert!(!Shapes::new(&in_rounds).has_rounded());
        assert!(!Shapes::new(&manifest(&[700, 1000, 3], None)).has_rounded());
    }

    #[test]
    fn sent_numbers_return_to_the_pool() {
        let pool = Pool::default();
        let values = pool.take(1000);
        let at = values.as_ptr();
        let payload = Payload::shared(pool.seal(Encoding::F32, values));
        let place = Place { generation: 0, step: 0, attempt: 0 };
        let framed = payload.messages(place, Part::All, |tensor| weights_header(place, tensor));
        assert_eq!(framed.0[1].as_ptr(), at.cast(), "sent from where they are");
        drop(payload);
        let other = pool.take(1000);
        assert_ne!(other.as_ptr(), at, "they are still being sent");
        drop(framed);
        let again = pool.take(1000);
        assert_eq!(again.as_ptr(), at);
    }
}
