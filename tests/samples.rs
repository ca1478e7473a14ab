//! What single samples' gradients are good for: the hardest samples of a set, the noise in the gradient, and training with
//! differential privacy. And networks that standardise pictures. The tests run the real program, as a user does.

mod common;

use std::fmt::Write as _;
use std::fs;

use common::{Place, linear_csv, png};
use serde_json::Value;

/// A table of two well separated classes, whose labels on some lines (counted from 1, the header) are wrong.
fn mislabelled(wrong: &[usize]) -> String {
    let mut text = String::from("width,height,kind\n");
    for i in 0..200 {
        let (large, line) = (i % 2 == 1, i + 2);
        let at = f64::from(large) * 4.0;
        let jitter = |k: usize| ((i * k) % 17) as f64 / 17.0;
        let kind = if large ^ wrong.contains(&line) { "plum" } else { "fig" };
        let _ = writeln!(text, "{:.3},{:.3},{kind}", at + jitter(5), at - jitter(7));
    }
    text
}

#[test]
fn wrong_labels_are_the_hardest_samples_and_are_named_by_their_lines() {
    let place = Place::new();
    let _ = place.file("fruit.csv", mislabelled(&[33, 104, 171]));
    let _ = place.nn("train --quiet --data fruit.csv --label-smoothing 0.1 --out run").ok();
    // Test samples are not training samples, so not all three need to be there.
    for by in ["loss", "gradient"] {
        let eval = format!("eval --model run/model.safetensors --hardest 4 --hardest-by {by}");
        let text = place.nn(&eval).ok().stdout;
        assert!(text.contains("The 4 of 160 training samples with the largest"), "{text}");
        let json = place.nn(&format!("{eval} --json")).ok().json();
        let hardest = json["hardest"].as_array().unwrap();
        assert_eq!(hardest.len(), 4);
        let places: Vec<&str> = hardest.iter().map(|hard| hard["place"].as_str().unwrap()).collect();
        let lines: Vec<String> = [33, 104, 171].map(|line| format!("line {line} of fruit.csv")).into();
        let (wrong, rest): (Vec<&str>, Vec<&str>) =
            places.iter().partition(|place| lines.iter().any(|l| l == *place));
        assert!(wrong.len() >= 2, "{places:?}");
        assert_eq!(places[..wrong.len()], wrong[..], "the wrong ones come first: {places:?}, then {rest:?}");
        assert!(places.iter().all(|place| text.contains(&format!("{place}: "))), "{text}");
        let key = if by == "loss" { "loss" } else { "gradient_norm" };
        let values: Vec<f64> = hardest.iter().map(|hard| hard[key].as_f64().unwrap()).collect();
        assert!(values.windows(2).all(|pair| pair[0] >= pair[1]), "{values:?}");
        assert_eq!(hardest[0]["truth"].as_u64().unwrap() + hardest[0]["predicted"].as_u64().unwrap(), 1);
        // The same on any number of threads.
        assert_eq!(place.nn(&format!("{eval} --threads 3")).ok().stdout, text);
    }
    assert!(!place.nn("eval --model run/model.safetensors").ok().stdout.contains("hardest"));
    place.nn("eval --model run/model.safetensors --hardest 10001").refused(2, &["--hardest"]);
    place
        .nn("eval --model run/model.safetensors --hardest 2 --hardest-by size")
        .refused(2, &["loss, gradient"]);
}

#[test]
fn the_hardest_numbers_and_pictures_have_places_too() {
    let place = Place::new();
    let mut table = linear_csv(100);
    table.push_str("0.5,0.5,0.5,1000\n");
    let _ = place.file("line.csv", &table);
    let _ = place.nn("train --quiet --data line.csv --task regression --test-fraction 0.01 --out line").ok();
    let json = place.nn("eval --model line/model.safetensors --hardest 1 --json").ok().json();
    let hard = &json["hardest"][0];
    assert!(hard["place"].as_str().unwrap().ends_with(" of line.csv"), "{hard}");
    assert!(hard["truth"][0].is_number() && hard["predicted"][0].is_number(), "{hard}");

    for (class, grey) in [("dark", 40), ("light", 200)] {
        for i in 0..12_u8 {
            let pixels: Vec<u8> = (0..64_u32).map(|p| grey + ((p * 7 + u32::from(i)) % 30) as u8).collect();
            let _ = place.file(format!("set/{class}/{i}.png"), png(8, 8, &pixels));
        }
    }
    let _ = place.nn("train --quiet --data set --epochs 3 --out pictures").ok();
    let text = place.nn("eval --model pictures/model.safetensors --hardest 2 --wrong 0").ok().stdout;
    let hardest = text.split("training samples with the largest losses").nth(1).unwrap();
    assert!(hardest.matches(".png: ").count() == 2 && hardest.contains("set/"), "{text}");
    // The digits come with the program, and are counted.
    let _ = place.nn("train --quiet --epochs 1 --out digits").ok();
    let text = place.nn("eval --model digits/model.safetensors --hardest 1").ok().stdout;
    assert!(text.contains(" of ") && text.contains("labelled"), "{text}");
}

#[test]
fn the_noise_scale_is_shown_logged_and_changes_nothing() {
    let place = Place::new();
    let plain = "train --epochs 3 --hidden 20";
    let _ = place.nn(&format!("{plain} --quiet --out plain")).ok();
    let ran = place.nn(&format!("{plain} --noise-scale --out run")).ok();
    assert_eq!(place.hash("run"), place.hash("plain"));
    let scales: Vec<f64> =
        place.metrics("run").iter().map(|line| line["noise_scale"].as_f64().unwrap()).collect();
    assert_eq!(scales.len(), 3);
    assert!(scales.iter().all(|&scale| scale > 0.1 && scale < 1e6), "{scales:?}");
    assert_eq!(place.summary("run")["noise_scale"], scales[2]);
    assert!(ran.stdout.contains("  noise scale "), "{ran:#?}");
    assert!(place.metrics("plain")[0].get("noise_scale").is_none());
    // It is the same on any number of threads, where the model is an average, and in rounds.
    let _ = place.nn(&format!("{plain} --quiet --noise-scale --threads 3 --out threads")).ok();
    let of =
        |out: &str| place.metrics(out).iter().map(|line| line["noise_scale"].clone()).collect::<Vec<Value>>();
    assert_eq!(of("threads"), of("run"));
    let _ = place.nn(&format!("{plain} --quiet --noise-scale --ema 0.9 --out averaged")).ok();
    assert_eq!(of("averaged"), of("run"), "it is that of the trained weights");
    let _ = place.nn(&format!("{plain} --quiet --noise-scale --rounds 4 --out rounds")).ok();
    assert!(of("rounds").iter().all(Value::is_number));
}

/// The seed is one that nobody guesses.
const PRIVATE: &str = "--dp-noise 1.1 --dp-clip 0.8 --seed 7341908256127";

#[test]
fn a_private_run_counts_its_privacy_and_hides_its_seed() {
    let place = Place::new();
    let ran = place.nn(&format!("train --out run --epochs 3 --batch-size 100 {PRIVATE}")).ok();
    let (summary, log) = (place.summary("run"), place.metrics("run"));
    let epsilons: Vec<f64> = log.iter().map(|line| line["epsilon"].as_f64().unwrap()).collect();
    assert!(epsilons.windows(2).all(|pair| pair[0] < pair[1]), "{epsilons:?}");
    assert_eq!(summary["epsilon"], epsilons[2]);
    assert_eq!(summary["delta"], 1e-4, "1438 samples");
    assert!(ran.stdout.contains("at the end ε = ") && ran.stdout.contains("for δ = 1e-4"), "{ran:#?}");
    assert!(!ran.stdout.contains("validation"), "{ran:#?}");
    let chosen = place.nn(&format!("train --out chosen --epochs 1 --validation-fraction 0.1 {PRIVATE}")).ok();
    assert!(chosen.stdout.contains("chosen by the validation samples is not counted"), "{chosen:#?}");
    let _ = place.nn(&format!("train --quiet --out other --epochs 1 --dp-delta 1e-6 {PRIVATE}")).ok();
    assert_eq!(place.summary("other")["delta"], 1e-6);

    // The model can be given away: no file of it has the seed, and neither has a hash of it.
    let model = fs::read(place.at("run/model.safetensors")).unwrap();
    let text = String::from_utf8_lossy(&model);
    assert!(!text.contains("7341908256127"), "the seed is in the model");
    assert!(!text.contains(summary["config_hash"].as_str().unwrap()), "a hash of the seed is in the model");
    assert_eq!(
        place.nn("eval --model run/model.safetensors --json").ok().json()["classification"]["accuracy"],
        summary["test_accuracy"]
    );
    // Nothing can be recomputed from it.
    place
        .nn("replay --checkpoint run/model.safetensors --until 999")
        .refused(2, &["has no seed", "--checkpoint"]);

    // Noise moves the weights, and another seed moves them elsewhere.
    let hash = |arguments: &str| {
        let _ = place
            .nn(&format!("train --quiet --overwrite --out again --epochs 3 --batch-size 100 {arguments}"))
            .ok();
        place.hash("again")
    };
    assert_eq!(hash(PRIVATE), place.hash("run"));
    let clipped = hash("--clip-samples 0.8 --seed 7341908256127");
    assert_ne!(clipped, place.hash("run"));
    assert_ne!(hash("--dp-noise 1.1 --dp-clip 0.8 --seed 7341908256128"), place.hash("run"));
    assert_ne!(hash("--dp-noise 1.2 --dp-clip 0.8 --seed 7341908256127"), place.hash("run"));
}

#[test]
fn a_private_run_is_resumed_and_replayed() {
    let place = Place::new();
    for epochs in [2, 5] {
        let _ = place.nn(&format!("train --quiet --out run --epochs {epochs} --resume {PRIVATE}")).ok();
    }
    let _ = place.nn(&format!("train --quiet --out whole --epochs 5 {PRIVATE}")).ok();
    assert_eq!(place.hash("run"), place.hash("whole"));
    // Options that are not given are the run's, the seed included.
    let _ = place.nn("train --quiet --resume --out run --epochs 6").ok();
    let _ = place.nn(&format!("train --quiet --out longer --epochs 6 {PRIVATE}")).ok();
    assert_eq!(place.hash("run"), place.hash("longer"));
    assert_eq!(place.summary("run")["epsilon"], place.summary("longer")["epsilon"]);
    let early = "run/checkpoints/step-000000000288.safetensors";
    assert!(place.nn(&format!("replay --checkpoint {early}")).ok().stdout.contains("agree"));
    place.nn("train --out run --resume --dp-noise 2").refused(2, &["dp-noise is 2.0, was 1.1"]);
}

#[test]
fn pictures_are_standardised_as_a_part_of_the_network() {
    let place = Place::new();
    let _ = place.nn("train --quiet --epochs 4 --hidden 20 --standardize yes --out run").ok();
    let _ = place.nn("train --quiet --epochs 4 --hidden 20 --out plain").ok();
    assert_ne!(place.hash("run"), place.hash("plain"));
    // The model has it: whoever uses it need not say so.
    let accuracy = |run: &str| {
        place.nn(&format!("eval --model {run}/model.safetensors --data digits --json")).ok().json()["classification"]
            ["accuracy"]
            .clone()
    };
    assert_eq!(accuracy("run"), place.summary("run")["test_accuracy"]);
    let model = fs::read(place.at("run/model.safetensors")).unwrap();
    assert!(String::from_utf8_lossy(&model).contains("input_scale"));
    let _ = place.nn("predict --model run/model.safetensors --data digits --count 3").ok();
    // It is a part of the run, which resumes with it.
    let _ = place.nn("train --quiet --resume --out run --epochs 6").ok();
    let _ = place.nn("train --quiet --epochs 6 --hidden 20 --standardize yes --out whole").ok();
    assert_eq!(place.hash("run"), place.hash("whole"));
    place.nn("train --out run --resume --standardize no").refused(2, &["input-mean is not used, was 0.30"]);

    let grey = |value: u8| png(8, 8, &[value; 64]);
    for (class, i) in [("a", 0), ("a", 1), ("b", 2), ("b", 3), ("a", 4), ("b", 5)] {
        let _ = place.file(format!("same/{class}/{i}.png"), grey(7));
    }
    place
        .nn("train --data same --standardize yes --out same-run")
        .refused(3, &["all pixels", "--standardize"]);
}

/// Mini-batches beyond what is computed at once: the same weights as from one piece is what `exact.rs` shows; here a whole run
/// and a cluster's worker stay within the memory that is said.
#[test]
fn a_mini_batch_of_any_size_runs_in_bounded_memory() {
    let place = Place::new();
    let table: String =
        (0..9000).map(|i| format!("{},{},{}\n", i % 7, i % 13, ["no", "yes"][i % 2])).collect();
    let _ = place.file("long.csv", format!("a,b,answer\n{table}"));
    let hash = |threads: usize| {
        let train = "train --quiet --overwrite --data long.csv --epochs 2 --batch-size 7000 --shard-size 3 --hidden 40,30 --out run";
        let _ = place.nn(&format!("{train} --threads {threads}")).ok();
        place.hash("run")
    };
    assert_eq!(hash(1), hash(3));
}
