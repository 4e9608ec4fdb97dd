// Sentences to begin with, of the kind that each bundled set was trained on; for other sets, ones that it draws itself.

import { call } from "./api.js";

const REVIEWS = {
  walks: [
    ["the waiter was rude and the food was cold.", "we loved the food and the staff was friendly."],
    ["the food was horrible and the staff was rude.", "great place, we will be back!"],
    ["my room was dirty and noisy.", "my room was clean and quiet."],
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
const PLAIN_REVIEWS = {
  walks: [
    [
      "the food was bland and the service was horrible.",
      "the food was delicious and the service was great.",
    ],
    ["i will never go back to this place.", "i will definitely be back."],
    ["the staff is very friendly.", "the food was cold."],
  ],
  analogies: [
    {
      name: "to praise",
      a: "the food was bland and the service was horrible.",
      b: "the food was delicious and the service was great.",
      c: "the staff was rude.",
    },
    {
      name: "to the past",
      a: "the food is delicious and the service is great.",
      b: "the food was delicious and the service was great.",
      c: "the staff is friendly.",
    },
    { name: "slow to great", a: "the service was slow.", b: "the service was great.", c: "the food was not good." },
  ],
  texts: [
    "the service was slow and the food was not good.",
    "my room was clean and quiet.",
    "i will never go back to this place.",
  ],
};
const FILMS = {
  walks: [
    ["the acting is terrible.", "the acting is superb."],
    ["a bad movie.", "a good movie."],
    ["too slow and too long.", "a touching and funny film."],
  ],
  analogies: [
    { name: "to praise", a: "a terrible movie.", b: "a wonderful movie.", c: "the acting is terrible." },
    { name: "to blame", a: "a wonderful movie.", b: "a terrible movie.", c: "the acting is superb." },
    { name: "dull to funny", a: "a dull film.", b: "a funny film.", c: "a dull story." },
  ],
  texts: ["the jokes fall flat.", "a gripping story, beautifully told.", "it is not as bad as it looks."],
};
const QUESTIONS = {
  walks: [
    ["Who was the first man to fly?", "When was the first man born?"],
    ["What is the population of Japan?", "What is the capital of Japan?"],
    ["How many people live in the world?", "What does the BBC stand for?"],
  ],
  analogies: [
    {
      name: "man to woman",
      a: "Who was the first man to fly?",
      b: "Who was the first woman to fly?",
      c: "Who was the first man to die?",
    },
    {
      name: "state to country",
      a: "What is the capital of California?",
      b: "What is the capital of the United States?",
      c: "What is the population of California?",
    },
    {
      name: "to how many",
      a: "What is the population of Japan?",
      b: "How many people live in Japan?",
      c: "What is the population of the world?",
    },
  ],
  texts: ["How many people live in Rome?", "Who invented the telephone?", "What does NASA stand for?"],
};
const CAPTIONS = {
  walks: [
    ["a dog runs through the grass.", "a man in love walks along the beach at sunset."],
    ["a man climbs a mountain.", "a brown dog runs through the snow."],
    ["a dog runs through the grass.", "a boy rides a bike."],
  ],
  analogies: [
    { name: "he to she", a: "a man rides a bike.", b: "a woman rides a bike.", c: "a man climbs a mountain." },
    {
      name: "grass to snow",
      a: "a dog runs through the grass.",
      b: "a dog runs through the snow.",
      c: "a boy runs through the grass.",
    },
    { name: "brown to black", a: "a brown dog runs.", b: "a black dog runs.", c: "a brown dog jumps in the air." },
  ],
  texts: [
    "a dog runs through the grass to catch a bone.",
    "a couple holds hands in the sunset, full of love.",
    "a man climbs a mountain.",
  ],
};
const EVERYDAY = {
  walks: [
    ["i am very tired today.", "we had a wonderful time at the beach."],
    ["he is a good friend.", "she was a wonderful teacher."],
    ["i love this book.", "the food was terrible."],
  ],
  analogies: [
    { name: "to the past", a: "she is a good friend.", b: "she was a good friend.", c: "he is a good teacher." },
    { name: "he to she", a: "he is a good friend.", b: "she is a good friend.", c: "he is a great teacher." },
    { name: "not", a: "i like this book.", b: "i do not like this book.", c: "i like this place." },
    { name: "i to we", a: "i had a good time.", b: "we had a good time.", c: "i went to the beach." },
  ],
  texts: ["i am very tired today.", "he is a good friend.", "the weather is beautiful today."],
};
const BY_NAME = {
  yelp: REVIEWS,
  "yelp-lm": PLAIN_REVIEWS,
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
