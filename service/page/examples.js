// Sentences to begin with, of the kind that each bundled set was trained on; for other sets, ones that it draws itself.

import { call } from "./api.js";

const REVIEWS = {
  walks: [
    ["the food was terrible and the staff was rude.", "great place, we will be back!"],
    ["the service was slow and the room was dirty.", "the service was friendly and the room was clean."],
    ["the pizza was cold and the waiter was rude.", "the pizza was hot and the waiter was friendly."],
  ],
  analogies: [
    {
      name: "to praise",
      a: "bad food, bad service, never again!",
      b: "great food, great service, love it!",
      c: "the staff was rude and the food was cold.",
    },
    {
      name: "to the past",
      a: "the service is great.",
      b: "the service was great.",
      c: "the food is delicious and the staff is friendly.",
    },
    { name: "pizza to sushi", a: "i love the pizza here.", b: "i love the sushi here.", c: "best pizza in town!" },
    { name: "very", a: "good food.", b: "very good food!", c: "good service and clean rooms." },
  ],
  texts: [
    "the staff was rude and the food was cold.",
    "my room was clean and quiet.",
    "not bad, but far too expensive.",
  ],
};
const FILMS = {
  walks: [
    ["a dull and lifeless film.", "a funny and moving film."],
    ["the plot makes no sense.", "a gripping story, beautifully told."],
  ],
  analogies: [
    { name: "to praise", a: "a bad film.", b: "a good film.", c: "a bad script." },
    { name: "terrible to wonderful", a: "a terrible movie.", b: "a wonderful movie.", c: "the acting is terrible." },
  ],
  texts: ["a gripping story, beautifully told.", "the jokes fall flat.", "it is not as bad as it looks."],
};
const QUESTIONS = {
  walks: [
    ["Who wrote the first novel?", "How many people live in Rome?"],
    ["Who invented the telephone?", "When was the telephone invented?"],
  ],
  analogies: [
    {
      name: "capital to population",
      a: "What is the capital of France?",
      b: "What is the population of France?",
      c: "What is the capital of Japan?",
    },
    { name: "when to where", a: "When was Lincoln born?", b: "Where was Lincoln born?", c: "When was Babe Ruth born?" },
  ],
  texts: ["How many people live in Rome?", "Who invented the telephone?", "What does NASA stand for?"],
};
const CAPTIONS = {
  walks: [
    ["a dog runs through the grass.", "a man in love walks along the beach at sunset."],
    ["two children play in the water.", "a boy jumps like a frog."],
  ],
  analogies: [
    {
      name: "in love",
      a: "a man walks on the beach.",
      b: "a man in love walks on the beach.",
      c: "a woman sits on a bench.",
    },
    { name: "like a rabbit", a: "a dog runs.", b: "a dog runs like a rabbit.", c: "a boy jumps." },
    { name: "he to she", a: "a man rides a bike.", b: "a woman rides a bike.", c: "a man climbs a mountain." },
  ],
  texts: ["a dog runs through the grass to catch a bone.", "a couple holds hands in the sunset, full of love."],
};
const EVERYDAY = {
  walks: [
    ["i am very tired today.", "we had a wonderful time at the beach."],
    ["the meeting starts at nine.", "i will call you tomorrow."],
  ],
  analogies: [
    { name: "to the past", a: "she lives in london.", b: "she lived in london.", c: "he works in a small shop." },
  ],
  texts: ["i am very tired today.", "the meeting starts at nine."],
};
const BY_NAME = {
  yelp: REVIEWS,
  "yelp-lm": REVIEWS,
  sst2: FILMS,
  trec: QUESTIONS,
  captions: CAPTIONS,
  general: EVERYDAY,
};

/** {walks, analogies, texts} for a set; drawn from it where it is not a bundled one. */
export async function examplesFor(set, signal) {
  const known = set && BY_NAME[set.name];
  if (known || !set) return known ?? REVIEWS;
  return drawn(set, signal);
}

const kept = new Map();

async function drawn(set, signal) {
  if (!kept.has(set.id)) {
    const body = { samples: 6, adapter: set.id, decoding: { seed: 11 } };
    const reply = await call("POST", "/decode", { body, signal });
    const texts = [...new Set(reply.data.map((row) => row.text.trim()).filter(Boolean))];
    while (texts.length && texts.length < 3) texts.push(texts[0]);
    const [a, b, c] = texts;
    const walks = [];
    for (let place = 0; place + 1 < texts.length; place += 2) walks.push([texts[place], texts[place + 1]]);
    kept.set(set.id, { walks, analogies: c ? [{ name: "drawn from the set", a, b, c }] : [], texts });
  }
  return kept.get(set.id);
}
