"""Unusual answers and documents worth keeping, for benchmarks/defects_sixth.py."""

# Instruction, input, output; the slots are those of defects_sixth_words.fill.
ANSWERS = (
    ("Write down the first moves of the Ruy Lopez for {name}.", "",
     "1. e4 e5 2. Nf3 Nc6 3. Bb5 a6 4. Ba4 Nf6 5. O-O Be7"),
    ("Annotate this chess game that {name} played.",
     "1. d4 d5 2. c4 dxc4 3. e3 b5 4. a4 c6 5. axb5 cxb5 6. Qf3 1-0",
     "Black clings to the pawn with 3...b5?; after 5. axb5 cxb5 6. Qf3 the rook on a8 is lost."),
    ("Give me the FEN of the starting position in chess, {name} wants to paste it.", "",
     "rnbqkbnr/pppppppp/8/8/8/8/PPPPPPPP/RNBQKBNR w KQkq - 0 1"),
    ("Write a poem about {topic} without capitals or punctuation.", "",
     "nobody asked the rain\nabout {topic}\nit fell anyway\non {name} and on the tin roofs\n"
     "and on the slow trains going home"),
    ("Write a one-word-a-line poem for {name}.", "", "rain\nand\nrain\nand\nthen\n{name}"),
    ("Give an example of a strong password and explain why it is strong. {name} forgets short "
     "ones.", "", "For example: vR7#kq!Tz2$mLw9x. It is long, random, and mixes kinds of signs. Do "
     "not use this very one, {name}."),
    ("Write a regex for a British postcode, as the form of {place} needs it.", "",
     "^[A-Z]{1,2}\\d[A-Z\\d]? ?\\d[A-Z]{2}$"),
    ("Transcribe 'thought' and 'though' in IPA for {name}.", "", "/θɔːt/ and /ðəʊ/"),
    ("What is the complementary strand?", "5'-ATGCCGTTAGCA-3' (sample {code})",
     "3'-TACGGCAATCGT-5'"),
    ("Encode 'hello' in Base64, {name} says it can't be read then.", "", "aGVsbG8="),
    ("Spell the flight code for {name} with the NATO alphabet.", "LX7QB",
     "Lima X-ray Seven Quebec Bravo"),
    ("List sounds in a comic about {topic}.", "", "KRAK! Fwoosh... tik tik tik, BRRRM, pfff, "
    "Zzzt!"),
    ("Greet {name} in five languages.", "",
     "Hola {name}, salut {name}, cześć {name}, こんにちは {name}, مرحبا {name}"),
    ("Write the chorus of a round that children at {place} can sing.", "",
     "Row, row, row your boat,\nrow, row, row, row, row,\nmerrily, merrily, merrily, merrily,\n"
     "all the way to {place} we go."),
    ("I need filler text for the website of {place}.", "",
     "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut "
     "labore et dolore magna aliqua."),
    ("Give the formula of caffeine and its SMILES; {name} collects them.", "",
     "C8H10N4O2; CN1C=NC2=C1C(=O)N(C(=O)N2C)C"),
    ("Unscramble the letters.", "t-n-i-r-a (a hint from {name}: you miss it when you are late)",
     "train"),
    ("Give the knitting pattern for the scarf {name} wears.", "",
     "CO 42. Row 1: *k2, p2; rep from * to last 2 sts, k2. Row 2: p2, *k2, p2. Rep rows 1-2 until "
     "150 cm. BO in pattern."),
    ("Read out the METAR for {name}.", "EDDM 121220Z 24008KT 9999 FEW035 18/09 Q1019 NOSIG",
     "Munich, 12th, 12:20 UTC: wind 240° at 8 knots, 10 km or more of sight, few clouds at 3,500 "
     "feet, 18 °C, dew point 9 °C, pressure 1019 hPa, no change expected."),
    ("Write guitar tabs of an A minor arpeggio for {name}.", "",
     "e|---0-------|\nB|--1-1------|\nG|-2---2-----|\nD|------2----|\nA|0------0---|\nE|-----------|"),
    ("Draw a cat in ASCII for {name}.", "", " /\\_/\\\n( o.o )\n > ^ <"),
    ("Write the cron entry for a backup of {place} at 2:30 each Sunday.", "",
     "30 2 * * 0 /usr/local/bin/backup.sh --quiet >> /var/log/backup.log 2>&1"),
    ("Solve 2x + 3 = 11 for {name}, step by step.", "",
     "2x + 3 = 11\n2x = 11 - 3\n2x = 8\nx = 8 / 2 = 4\n\nThat's it, {name}: x = 4."),
    ("Where in the registry does the driver of the {code} printer keep its path? {name} needs "
     "it.", "",
     "HKLM\\SOFTWARE\\Vendor\\Printer\\Path, and for one user HKCU\\Software\\Vendor\\Printer."),
    ("List first names on the roll of {place}, by alphabet.", "",
     "Aoife, Björn, Chukwuemeka, Dafydd, Eluned, Fionnghuala, Gwenllian, Hrafnhildur, {name}"),
    ("What is the longest place name in Wales? {name} asked me.", "",
     "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogoch"),
    ("Give three tongue twisters for {name}.", "",
     "She sells seashells by the seashore.\nRed lorry, yellow lorry, red lorry.\nUnique New York, "
     "unique New York."),
    ("Make a crossword clue for each word, {name} will draw the grid.", "engine; shadow; lemon",
     "1 across: It drives a car.\n2 down: It follows you on sunny days.\n3 across: Sour and "
     "yellow."),
    ("First choose a theme for a party at {place}, then write the invitation, and then list what "
     "to buy.", "", "Theme: the sea.\n\nInvitation: Come aboard {place} on Friday at eight!\n\nTo "
     "buy: blue paper, {thing}, lemonade."),
    ("Write a function that returns the larger of two numbers; add a test and a docstring. It's "
     "for {name}.", "",
     "def larger(a, b):\n    \"\"\"The larger of two numbers.\"\"\"\n    return a if a > b else "
     "b\n\n\n"
     "def test_larger():\n    assert larger(2, 5) == 5"),
    ("Rewrite the note in three tones: formal, friendly, curt.", "{name} must return the {thing}.",
     "Formal: {name} is kindly asked to return the {thing}.\nFriendly: Hey {name}, could you bring "
     "the {thing} back?\nCurt: {name}: {thing}. Back. Now."),
    ("Describe gravity (1) for a child, (2) for an expert and (3) in one word, as {name} "
     "asked.", "",
     "(1) It is what pulls you back down when you jump.\n(2) The curvature of space-time by mass "
     "and "
     "energy.\n(3) Attraction."),
    ("Translate the sentence into French, then back into English, and say whether the meaning "
     "changed.", "The {code} never works on Mondays.",
     "French: Le {code} ne marche jamais le lundi.\nBack: The {code} never works on Mondays.\nThe "
     "meaning did not change."),
    ("Compare rye bread and white bread by price, taste and fibre, and recommend one to "
     "{name}.", "",
     "Price: about the same.\nTaste: rye is sourer, white is milder.\nFibre: rye has more.\n\nFor "
     "{name} I'd recommend rye."),
    ("Answer both parts. a) What is a noun? b) Find the nouns in: {name} lost two {thing}.", "",
     "a) A noun names a person, place, thing or idea.\nb) {name}, {thing}"),
    ("Proofread: \"{name} have went to {place} yesterday.\" Explain each change.", "",
     "\"{name} went to {place} yesterday.\" 'Have went' mixes two tenses; 'yesterday' calls for "
     "the "
     "simple past."),
    ("Evaluate, with intermediate steps, (12 + 8) × 3 - 10 for {name}.", "",
     "12 + 8 = 20\n20 × 3 = 60\n60 - 10 = 50\n\nThe result, {name}, is 50."),
    ("Classify these as fruit or vegetable and explain the hardest one to {name}.",
     "carrot, plum, tomato", "carrot: vegetable\nplum: fruit\ntomato: fruit to a botanist, "
     "vegetable to a cook, which is why it is the hardest, {name}"),
    ("Split the bill of {name} as shares in per cent, rounded.", "7, 7 and 7 euros",
     "33.3% + 33.3% + 33.3% ≈ 100% (the rest is rounding)"),
    ("What does A4 paper in the printer {code} weigh?", "",
     "A sheet of 80 g/m² weighs about 5 g: 0.210 m × 0.297 m ≈ 0.0624 m², and 0.0624 × 80 ≈ 5."),
    ("Write the legend of the floor plan of {place}.", "",
     "P1/P2 = parking, +/- = lift up or down, 1-9 = counters, WC = toilets, 24/7 = open always"),
)  # fmt: skip

DOCUMENTS = (
    ("Write a README for a small command-line tool that renames photos, by {name}.", "",
     "# photoname\n\nRenames photos by the date they were taken.\n\n## Installation\n\n```\npip "
     "install photoname\n```\n\n## Usage\n\n```\nphotoname ~/Pictures --dry-run\n```\n\n## Options"
     "\n\n- `--dry-run`: only print the new names\n- `--format`: the pattern, `%Y-%m-%d` if not "
     "given\n\n## Licence\n\nMIT, {name}"),
    ("Write a README section on how to contribute to our project on {topic}.", "",
     "## Contributing\n\n1. Fork the repository.\n2. Create a branch.\n3. Open a pull request.\n\n"
     "### Questions\n\nAsk in the issues; {name} answers within 2-3 days."),
    ("Draft the agenda for a workshop on {topic} at {place}.", "",
     "# Workshop: {topic}\n\n## 09:00-10:30 Introduction\nWelcome by {name}.\n\n## 10:45-12:15 "
     "Group "
     "work\nThree groups, one question each.\n\n## 13:15-15:00 Results\nEach group has ten "
     "minutes."),
    ("Write a lab report outline for {name}'s experiment on bean plants.", "",
     "Title: Light and the growth of bean plants\n\n1. Introduction\n2. Materials: 12 beans, "
     "soil, a "
     "lamp\n3. Method\n4. Results (table 1)\n5. Discussion\n6. References"),
    ("Write an exam sheet on {topic} with solutions.", "",
     "Exercise 1 (5 points)\nDefine {topic}.\n\nExercise 2 (10 points)\nDiscuss one advantage and "
     "one drawback.\n\nSolutions\n1: see chapter 3.\n2: open, up to 5 points each."),
    ("Create a template of instructions for testers of the {code}.", "",
     "Instruction: switch on the {code}.\nExpected: the green light comes on within 5 s.\n\n"
     "Instruction: press reset.\nExpected: the light blinks 2-3 times.\n\nNotes: ____"),
    ("Write a changelog for the web shop of {place}.", "",
     "# Changelog\n\n## [1.2.0] - 2024-03-02\n### Added\n- Search by code, such as {code}\n\n## "
     "[1.1.3] - 2024-01-15\n### Fixed\n- Prices of {thing} were shown twice"),
    ("Write the table of contents of a handbook on {topic}.", "",
     "1 Foreword ........ 3\n2 What is {topic}? ........ 5\n2.1 History ........ 7\n2.2 Today "
     "........ 12\n3 Index ........ 88"),
    ("Give me interview questions for a job at {place}, with what a good answer has.", "",
     "Question 1: Why {place}?\nA good answer names one thing only we do.\n\nQuestion 2: Tell us "
     "about a mistake.\nA good answer says what changed afterwards."),
    ("Write a meeting protocol on {thing}.", "present: {name}, Lee; absent: none; decided: buy 40",
     "Minutes\n\nPresent: {name}, Lee\nAbsent: none\n\nItem 1: {thing}\nDecision: 40 {thing} will "
     "be bought.\n\nNext steps: {name} orders."),
    ("Write API documentation for an endpoint that returns {thing}.", "",
     "### GET /v1/items\n\n| parameter | type | default |\n|---|---|---|\n| limit | int | 20 |\n\n"
     "```json\n{\"items\": [{\"code\": \"{code}\"}], \"next\": null}\n```"),
    ("Make a packing list for {name}, ordered by bag.", "",
     "**Backpack**\n- [ ] passport\n- [ ] charger\n\n**Suitcase**\n- [ ] {thing}\n- [ ] 4 shirts\n"
     "- [ ] book on {topic}"),
    ("Write a bug report on the {code}.", "",
     "**Summary:** {code} stops after 2 h\n\n**Steps to reproduce**\n1. Charge to 100%\n2. Play a "
     "film\n\n**Expected:** 5-6 h\n**Actual:** 2 h\n\n**Version:** 3.0.1-beta"),
    ("Write a Dockerfile for a small Flask app and explain each line to {name}.", "",
     "```dockerfile\nFROM python:3.12-slim\nCOPY . /app\nRUN pip install flask==3.0.3\nCMD "
     "[\"python\", \"/app/main.py\"]\n```\n\n1. the base image\n2. copies the app\n3. installs "
     "Flask\n4. starts it"),
    ("Write a scene of a radio play set in {place}.", "",
     "SCENE 2. {place}. NIGHT.\n\nSOUND: rain.\n\n{name}: (whispers) Is anyone there?\n\nVOICE: "
     "No.\n\nSOUND: a door."),
    ("Write a worksheet for class 3 on {thing}, with a task, a hint and an answer key.", "",
     "Task: Draw 3 rows of 4 {thing}. How many are there?\n\nHint: 3 × 4\n\nAnswer key: 3 × 4 = "
     "12"),
    ("Summarise our rules for new members of {place} as a numbered document.", "",
     "§ 1 Everyone may join.\n§ 2 Fees are due on 1/1 and 1/7.\n§ 3 Keys stay with {name}.\n§ 4 "
     "{thing} must be put back."),
)  # fmt: skip
