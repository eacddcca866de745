"""Whole tasks with their answers, of which benchmarks/defects_sixth.py makes merged rows."""

import random
from typing import NamedTuple

from benchmarks.defects_sixth_words import CAPITALS, SYNONYMS


class Task(NamedTuple):
    """One task with its answer and the field it is of: tasks of one field may be related."""

    field: str
    ask: str
    answer: str


_BANK = (
    ("biology", "Explain how photosynthesis works.", "Plants take in light, water and carbon "
     "dioxide, and turn them into sugar and oxygen in the chloroplasts."),
    ("biology", "Name three animals that hibernate.", "Hedgehogs, dormice and brown bears."),
    ("biology", "What is the function of red blood cells?", "They carry oxygen from the lungs to "
     "the tissues and bring carbon dioxide back."),
    ("biology", "Why do leaves change colour in autumn?", "The green chlorophyll breaks down, and "
     "yellow and red pigments that were hidden by it become visible."),
    ("poetry", "Write a haiku about the sea.", "Grey waves fold and fold\nover the same patient "
     "stones\nuntil they are sand."),
    ("poetry", "Compose a two-line rhyme about a cat.", "The cat upon the garden wall\nis far too "
     "proud to hear you call."),
    ("poetry", "Write a limerick about a baker.", "A baker who lived by the quay\nput currants in "
     "all of his tea;\nwhen asked was it nice,\nhe added some spice\nand served it with butter "
     "for three."),
    ("cooking", "Give me a recipe for pancakes.", "Whisk 200 g flour, 2 eggs and 300 ml milk. Let "
     "it rest, then fry thin layers in butter until golden on both sides."),
    ("cooking", "How long should I boil an egg?", "Six minutes for a soft yolk, nine to ten for a "
     "firm one."),
    ("cooking", "Suggest a side dish for grilled salmon.", "A cucumber and dill salad goes well "
     "with it, as do new potatoes with lemon butter."),
    ("cooking", "List the ingredients of guacamole.", "- avocados\n- lime juice\n- onion\n"
     "- coriander\n- chilli\n- salt"),
    ("code", "Write a Python function that reverses a string.", "def reverse(text):\n"
     "    return text[::-1]"),
    ("code", "What does the HTTP status 404 mean?", "The server could not find the page that was "
     "asked for."),
    ("code", "Write an SQL query that counts the rows of the table orders.",
     "SELECT COUNT(*) FROM orders;"),
    ("code", "Explain the difference between a list and a tuple in Python.", "A list can be "
     "changed after it was made; a tuple cannot."),
    ("history", "Who was the first emperor of Rome?", "Augustus, who ruled from 27 BC to AD 14."),
    ("history", "When did the Berlin Wall fall?", "On 9 November 1989."),
    ("history", "Describe the causes of the French Revolution.", "An indebted crown, unequal "
    "taxes, "
     "bad harvests and new ideas about rights all came together in 1789."),
    ("history", "Name two inventions of ancient China.", "Paper and the magnetic compass."),
    ("letters", "Write an email to decline a job offer.", "Dear Ms Okoye,\nthank you for the "
    "offer. "
     "After some thought I have decided to stay in my present post. I wish the team all the best."
     "\nKind regards"),
    ("letters", "Write a thank-you note to a neighbour.", "Thank you so much for watering the "
     "plants. They look better than when we left!"),
    ("letters", "Draft a slogan for a bicycle shop.", "Two wheels, no worries."),
    ("health", "Give three tips for sleeping better.", "1. Go to bed at the same time.\n2. Keep "
    "the "
     "room dark and cool.\n3. Put the phone away an hour before."),
    ("health", "What are the symptoms of a cold?", "A runny nose, a sore throat, sneezing and "
     "sometimes a light fever."),
    ("health", "Describe a simple stretch for the back.", "Kneel, sit back on your heels and reach "
     "forward with both arms; hold for thirty seconds."),
    ("geography", "Which is the longest river in Africa?", "The Nile, at about 6,650 km."),
    ("geography", "List the countries that border Switzerland.", "Germany, France, Italy, Austria "
     "and Liechtenstein."),
    ("geography", "What causes the monsoon?", "Land warms faster than the sea in summer, and the "
     "rising air draws moist wind in from the ocean."),
    ("physics", "Why is the sky blue?", "Air scatters blue light more strongly than red, so blue "
     "reaches us from every direction."),
    ("physics", "State Newton's first law.", "A body stays at rest or in uniform motion unless a "
     "force acts on it."),
    ("physics", "What is absolute zero in Celsius?", "-273.15 °C."),
    ("grammar", "Correct this sentence: 'She don't like apples.'", "She doesn't like apples."),
    ("grammar", "Rewrite in the passive voice: 'The dog chased the cat.'",
     "The cat was chased by the dog."),
    ("grammar", "What is the plural of 'phenomenon'?", "Phenomena."),
    ("grammar", "Identify the verb in 'Birds sing at dawn.'", "The verb is 'sing'."),
    ("language", "Translate 'good morning' into Spanish.", "Buenos días."),
    ("language", "How do you say 'thank you' in Japanese?", "Arigatō."),
    ("money", "Explain what inflation is.", "Inflation is a general rise in prices, so that the "
     "same sum of money buys less than before."),
    ("money", "Give two ways to save on electricity.", "Switch devices off at the socket, and wash "
     "at 30 degrees."),
    ("money", "What is a credit score?", "A number by which lenders judge how likely you are to "
     "pay back what you borrow."),
    ("film", "Recommend a film for a rainy evening.", "Amélie: warm, funny, and set in a Paris "
    "that "
     "is never grey."),
    ("film", "Classify the genre of 'Alien'.", "Science fiction and horror."),
    ("music", "Name four string instruments.", "Violin, viola, cello and double bass."),
    ("music", "What is a minor scale?", "A scale whose third step lies three semitones above its "
     "root; it is often heard as sad."),
    ("travel", "Plan one day in Lisbon.", "Morning in Alfama, lunch at the river, the tiles museum "
     "in the afternoon and a concert at night."),
    ("travel", "What should I pack for a week of camping?", "A tent, a sleeping bag, a stove, a "
     "lamp, rain clothes and a first-aid kit."),
    ("story", "Write the opening line of a mystery novel.", "The telephone had been cut off for a "
     "year when it rang."),
    ("story", "Create a name for a dragon who is afraid of fire.", "Cinderwince."),
    ("sentiment", "Classify the sentiment of 'I waited an hour for cold soup.'", "Negative"),
    ("sentiment", "Is this review positive or negative: 'Best sofa we ever had!'", "Positive"),
    ("work", "Give three questions to ask in a job interview.", "What does a normal day look like? "
     "How is success measured? Why did the last person leave?"),
    ("work", "Explain what a stand-up meeting is.", "A short daily meeting in which each person "
     "says what they did, what they will do and what stops them."),
    ("garden", "When should I prune roses?", "In late winter, when the buds begin to swell."),
    ("garden", "Name a plant that grows well in shade.", "The hosta."),
    ("maths", "What is the square root of 144?", "12."),
    ("maths", "Convert 5 kilometres into metres.", "5,000 metres."),
    ("maths", "Is 91 a prime number?", "No, it is 7 times 13."),
    ("sport", "How many players are in a volleyball team on court?", "Six."),
    ("sport", "Explain the offside rule in one sentence.", "A player may not be nearer to the goal "
     "line than the ball and the last but one defender when the ball is played to them."),
)  # fmt: skip
TASKS = tuple(Task(*one) for one in _BANK)

# Tasks with a text of their own: instruction, input, answer.
WITH_INPUT = (
    ("Summarize the text.", "Bees tell each other where flowers are by dancing in the hive.",
     "Bees point each other to flowers by a dance."),
    ("Correct the spelling.", "I recieved you're mesage yesterday.",
     "I received your message yesterday."),
    ("Classify the animal.", "salamander", "Amphibian"),
    ("Find the odd one out.", "apple, pear, hammer, plum", "hammer"),
    ("Sort these words alphabetically.", "river, anchor, mint, zebra",
     "anchor, mint, river, zebra"),
    ("Translate into French.", "The train is late again.", "Le train est encore en retard."),
    ("Extract the date.", "The contract ends on 31 May 2025 at noon.", "31 May 2025"),
    ("Rewrite the sentence in a formal tone.", "Gimme the numbers by Friday.",
     "Please send me the figures by Friday."),
    ("Give a title for the paragraph.", "Nobody had opened the cellar since the flood. When they "
     "did, the jars still stood in their rows.", "What the Flood Left"),
    ("Decide whether the statement is true.", "Spiders are insects.", "False, they are arachnids."),
    ("Name the tense of the sentence.", "She had already left.", "Past perfect"),
    ("Complete the analogy.", "hand : glove = foot : ?", "sock"),
)  # fmt: skip


def _drawn(rng: random.Random) -> Task:
    number = rng.randint(0, 9)
    if number == 0:
        country, city = rng.choice(CAPITALS)
        return Task("geography", f"What is the capital of {country}?", f"{city}.")
    if number == 1:
        word, other = rng.choice(SYNONYMS)
        return Task("grammar", f"Give a synonym for '{word}'.", f"{other.capitalize()}.")
    return rng.choice(TASKS)


def unrelated(rng: random.Random, count: int) -> list[Task]:
    """As many tasks of as many different fields."""
    found: list[Task] = []
    while len(found) < count:
        task = _drawn(rng)
        if all(task.field != other.field for other in found):
            found.append(task)
    return found
