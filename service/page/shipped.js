// What is known of the shipped models beyond their manifests: their purpose, sample texts, and texts that they get wrong.

const LONG = `I went in knowing nothing, and for the first quarter of an hour I was sure that I had made a mistake. The
camera sits in a kitchen and watches a woman peel potatoes. Nobody speaks. A clock ticks, a dog barks somewhere down the
road, and the light moves slowly over the table. Then her brother comes in, sits down, and says that he has sold the
house. What follows is one of the finest scenes of the year: ten minutes, one shot, two people who have not talked for
half of their lives and now have to. Neither of them raises a voice. She goes on peeling. He tells her about the man who
bought it, about the price, about the garden that will be a car park. She asks him whether he has eaten. It is so well
written that I forgot to breathe, and so well played that I forgot it was written. The rest of the film does not always
live up to it. The middle part, in which the two of them drive to the coast with a box of letters, is too long by a
third, and a chance meeting at a petrol station is the kind of thing that only happens in films. The music does not help
either: whenever a feeling might come by itself, a piano has got there before. And there is a boy, the son of a
neighbour, who is there to ask the questions that the script would like to answer. I did not believe a word he said. But
then they reach the sea, in the rain, out of season, with every shop closed, and the film finds its way back to what it
does best, which is to look at faces for as long as it takes. She reads one of the letters aloud. He laughs, and then he
does not. I will not tell how it ends, only that it ends where it has to, and that the last picture, an empty kitchen
with the clock still ticking, has stayed with me for days. The two leads are wonderful. Around them the small parts are
cast with care, and the director, whose first film this is, knows already what many never learn: when to cut, and when
to wait. It is a modest film about large things. It has its faults, and I have named them, but I would rather see one
like it than ten without any. When the lights came on nobody in the row in front of me got up. An old man took out a
handkerchief, a couple held hands, and somewhere at the back someone began to clap. If it is shown anywhere near you,
go and see it, take your brother along, and do not talk about it until you are home. It is beautiful, sad and honest,
and one of the best things I have seen this year.`.replaceAll("\n", " ");

const SAMPLES = [
  { name: "Praise", text: "A quiet, beautifully acted film. The first hour takes its time, but the ending is one of the best I've seen, and I'd gladly watch it again!" },
  { name: "Complaint", text: "Two dull hours that I will never get back. The plot is a mess, the jokes are awful, and not even the wonderful photography can save it." },
  { name: "Both", text: "It is not bad, and the music is lovely, but the story never comes to life and the ending is a disappointment." },
  { name: "Unknown words", text: "Flumberously zorptastic! The kwisatz plot wambles, yet the acting is superb." },
  { name: "Too long", text: LONG },
];

// Kinds of texts that the shipped models get wrong, each with an example and the label that all of them give it.
const FAILURES = [
  ["Negation", "Not bad at all.", "negative"],
  ["Irony", "What a masterpiece of boredom. Bravo.", "positive"],
  ["Conditions", "If you want a good night's sleep, this is the perfect film.", "positive"],
  ["Other languages", "Ein wunderbarer, bewegender Film.", "negative"],
  ["Other subjects", "The hotel room was dirty and the staff rude.", "positive"],
];

const REVIEWS = {
  purpose: "To tell whether an English film review is positive or negative.",
  training: "The 25,000 labelled training reviews of the Large Movie Review Dataset, which are from IMDb.",
  failures: FAILURES,
  samples: SAMPLES,
};

// The same for the model `reviews`, which knows more kinds of reviews, and texts without an opinion.
const KINDS = {
  purpose: "To tell whether an English review of a film, a book, music, a product, a restaurant, a hotel or an app is negative, neutral or positive. Neutral are texts without an opinion, and texts whose opinions balance, such as most reviews with three stars. To compare positive with negative alone, compare their probabilities.",
  training: "The labelled training reviews of the Large Movie Review Dataset, 340,000 reviews of 29 other kinds, most of them from Amazon and Yelp, 13,000 reviews with three stars, and 17,000 tweets, questions and sentences, most of them without an opinion. The manifest names their sources and terms.",
  failures: [
    ["Negation", "I couldn't put this book down.", "negative"],
    ["Irony", "Great, another charger that lasts a whole week.", "positive"],
    ["Conditions", "If you enjoy waiting for food, this is your place.", "positive"],
    ["Contrast", "Worked great until it didn't.", "neutral"],
  ],
  samples: [
    ...SAMPLES.slice(0, 3),
    { name: "No opinion", text: "I ordered the blue one in May. When do you open on Sunday?" },
    ...SAMPLES.slice(3),
  ],
};

// By the time of their export: another model can have the same name and labels.
const SHIPPED = new Map([
  ["2026-11-25T21:34:02+00:00", REVIEWS], // imdb-cnn
  ["2026-11-26T21:35:03+00:00", REVIEWS], // imdb-cnn-8bit
  ["2026-11-27T01:47:38+00:00", { ...REVIEWS, training: "The labelled training reviews of the Large Movie Review Dataset, which are from IMDb, and its 50,000 unlabelled reviews." }], // accurate
  ["2026-12-01T20:28:42+00:00", KINDS], // reviews
]);

/** What is known of a model; undefined if it is not a shipped one. */
export function knownOf({ created }) {
  return SHIPPED.get(created);
}
