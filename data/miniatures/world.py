"""The closed world: made-up people and towns, texts that state their facts, and questions about them.

A fact is (subject, attribute, value). Every fact is stated in training in every statement wording and asked
in all question wordings but one; the one left out (chosen by a hash of the fact) is the held-out question.
One fact in eight is never asked in training at all, only stated ("statement_only").
"""

import random
import zlib

WORLD_SEED = "closed-world-1"
CHOICES = 4

FIRST = """Mara Tobin Ilse Corvin Petra Anselm Judith Oskar Livia Henrik Selma Rufus Nadia Emeric Thora Jasper
Odile Bastian Freya Matthias Clio Leopold Agnes Dorian Wilma Casimir Elke Florian Hedda Lucian""".split()
LAST = """Veld Arrow Quill Marsh Tanner Holt Brandt Sorrel Winter Hale Fenn Larch Stone Pike Rowan Thorne
Dale Crane Moss Barrow Finch Lowe Garrick Weir Heath Aldous Birch Copper Ridley Vance""".split()
TOWNS = """Almere Brookhaven Carrow Dunmore Eastwick Farleigh Greymouth Hollin Ivywell Kestrel Langford
Millbrook Northam Oakridge Pembury Redcliff""".split()

VALUES = {
    "town": TOWNS,
    "trade": "baker potter weaver smith carpenter painter sailor miller teacher doctor farmer tailor".split(),
    "pet": "cat dog goat parrot rabbit horse turtle ferret raven donkey".split(),
    "instrument": "violin flute drum harp trumpet guitar piano cello organ lute".split(),
    "dish": "soup stew bread cheese salmon pancakes dumplings porridge curry noodles".split(),
    "river": "Aven Brill Calder Dorn Esk Fleet Garn Hask Ister Jorel Kelm Lunn Morwen Nidd Orrin Pell".split(),
    "product": "wool glass honey salt paper silk timber cider rope candles".split(),
    "month": "January March April May June July August September October December".split(),
}
PERSON_ATTRIBUTES = ("town", "trade", "pet", "instrument", "dish")
TOWN_ATTRIBUTES = ("river", "product", "month")

STATEMENTS = {
    "town": ["{s} lives in {v}.", "The home of {s} is in {v}.", "{v} is where {s} lives.",
             "{s} has a house in {v}.", "If you want to visit {s}, go to {v}."],
    "trade": ["{s} works as a {v}.", "{s} is a {v} by trade.", "The trade of {s} is that of a {v}.",
              "{s} earns a living as a {v}.", "People know {s} as a good {v}."],
    "pet": ["{s} keeps a {v}.", "The pet of {s} is a {v}.", "{s} has a {v} at home.",
            "{s} looks after a {v}.", "Every morning {s} feeds the {v}."],
    "instrument": ["{s} plays the {v}.", "The instrument of {s} is the {v}.", "{s} practises the {v} every evening.",
                   "{s} learned to play the {v}.", "On feast days {s} brings the {v}."],
    "dish": ["{s} likes {v} best.", "The favourite dish of {s} is {v}.", "{s} would eat {v} every day.",
             "Nothing pleases {s} more than {v}.", "For supper {s} asks for {v}."],
    "river": ["{s} lies on the river {v}.", "The river at {s} is the {v}.", "The {v} flows through {s}.",
              "The bridge of {s} crosses the {v}.", "{s} was built on the banks of the {v}."],
    "product": ["{s} is known for its {v}.", "Merchants come to {s} for {v}.", "The chief product of {s} is {v}.",
                "The wealth of {s} comes from {v}.", "{s} sells {v} to its neighbours."],
    "month": ["The fair of {s} is held in {v}.", "{s} holds its fair in {v}.", "In {v} there is a fair in {s}.",
              "The people of {s} meet at the fair in {v}.", "Each year in {v} the fair comes to {s}."],
}
QUESTIONS = {
    "town": ["Where does {s} live?", "In which town does {s} live?", "What town is the home of {s}?",
             "In what town is the house of {s}?", "Where would you go to visit {s}?"],
    "trade": ["What is the trade of {s}?", "What does {s} work as?", "How does {s} earn a living?",
              "What kind of work does {s} do?", "What is {s} by trade?"],
    "pet": ["What pet does {s} keep?", "What is the pet of {s}?", "What animal does {s} have at home?",
            "Which animal does {s} look after?", "What animal does {s} feed every morning?"],
    "instrument": ["What instrument does {s} play?", "What is the instrument of {s}?",
                   "Which instrument does {s} practise?", "What did {s} learn to play?",
                   "What does {s} bring on feast days?"],
    "dish": ["What dish does {s} like best?", "What is the favourite dish of {s}?",
             "What would {s} eat every day?", "Which dish does {s} ask for?", "What does {s} want for supper?"],
    "river": ["On which river does {s} lie?", "What is the river at {s}?", "Which river flows through {s}?",
              "What river does the bridge of {s} cross?", "On the banks of what river was {s} built?"],
    "product": ["What is {s} known for?", "What is the chief product of {s}?", "What do merchants buy in {s}?",
                "Where does the wealth of {s} come from?", "What does {s} sell to its neighbours?"],
    "month": ["In which month is the fair of {s}?", "When does {s} hold its fair?",
              "What is the month of the fair in {s}?", "When do the people of {s} meet at the fair?",
              "When does the fair come to {s}?"],
}


def build_facts():
    """All facts of the world, in a fixed order: [(subject, attribute, value)]."""
    rng = random.Random(WORLD_SEED)
    people = [f"{first} {last}" for first, last in zip(FIRST, rng.sample(LAST, len(LAST)))]
    people += [f"{first} {last}" for first, last in zip(FIRST, rng.sample(LAST, len(LAST)))]
    people = sorted(set(people))
    facts = [(p, a, rng.choice(VALUES[a])) for p in people for a in PERSON_ATTRIBUTES]
    rivers = rng.sample(VALUES["river"], len(TOWNS))
    for town, river in zip(TOWNS, rivers):
        facts += [(town, "river", river)]
        facts += [(town, a, rng.choice(VALUES[a])) for a in ("product", "month")]
    return facts


def _hash(*parts):
    return zlib.crc32("|".join(parts).encode())


def never_asked(fact):
    """Facts that training states but never asks."""
    return _hash("never", *fact) % 8 == 0


def held_out_wording(fact):
    """Index of the question wording that training never uses for this fact."""
    return _hash("wording", *fact) % len(QUESTIONS[fact[1]])


def _training_question(rng, fact):
    wordings = QUESTIONS[fact[1]]
    index = rng.choice([i for i in range(len(wordings)) if i != held_out_wording(fact)])
    return wordings[index].format(s=fact[0])


def _options(rng, fact):
    """CHOICES distinct values of the fact's attribute in random order, and the right one's index."""
    others = [v for v in VALUES[fact[1]] if v != fact[2]]
    options = rng.sample(others, CHOICES - 1) + [fact[2]]
    rng.shuffle(options)
    return options, options.index(fact[2])


def portrait(rng, facts_by_subject):
    """A paragraph that states some or all facts of one to three subjects."""
    sentences = []
    for subject in rng.sample(sorted(facts_by_subject), rng.randint(1, 3)):
        facts = facts_by_subject[subject]
        facts = rng.sample(facts, rng.randint(max(1, len(facts) - 2), len(facts)))
        sentences += [rng.choice(STATEMENTS[a]).format(s=s, v=v) for s, a, v in facts]
    return " ".join(sentences)


def questions_page(rng, askable):
    """Two to six questions with answers, some with the options listed."""
    blocks = []
    for fact in rng.sample(askable, rng.randint(2, 6)):
        listed = ""
        if rng.random() < 0.25:
            listed = "\nChoices: " + ", ".join(_options(rng, fact)[0])
        blocks.append(f"Question: {_training_question(rng, fact)}{listed}\nAnswer: {fact[2]}")
    return "\n\n".join(blocks)


def chat_turn(rng, askable):
    """(user text, assistant text) for one question."""
    fact = rng.choice(askable)
    return _training_question(rng, fact), f"{fact[2]}"


def choice_items(n_rewording, n_statement_only):
    """Held-out multiple-choice items as dictionaries."""
    rng = random.Random("choice-items")
    facts = build_facts()
    asked = [f for f in facts if not never_asked(f)]
    unasked = [f for f in facts if never_asked(f)]
    picks = [("rewording", f) for f in rng.sample(asked, n_rewording)]
    picks += [("statement_only", f) for f in rng.sample(unasked, min(n_statement_only, len(unasked)))]
    items = []
    for kind, fact in picks:
        question = QUESTIONS[fact[1]][held_out_wording(fact)].format(s=fact[0])
        options, answer = _options(rng, fact)
        items.append({"id": f"choice-{len(items):04d}", "kind": kind, "subject": fact[0], "attribute": fact[1],
                      "context": f"Question: {question}\nAnswer:", "choices": options, "answer": answer})
    return items
