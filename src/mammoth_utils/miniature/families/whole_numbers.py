"""Arithmetic and pre-algebra: sums, differences, products and shares of whole numbers."""

from __future__ import annotations

from random import Random

from mammoth_utils.miniature.arithmetic import add_in_steps, divide_in_steps, multiply_in_steps, subtract_in_steps
from mammoth_utils.miniature.families.definition import Solution, Values, family, number, program, ranges


@family(
    "arithmetic", "small", ranges(a=(12, 99), b=(12, 99)), comment="add",
    story=("{name} has {a} {thing} and gets {b} more. How many {thing} does {name} have now?",
           "{name} picks {a} {thing} on one day and {b} on the next. How many {thing} is that?"),
    retold=("There were {a} {thing} in the box. {name} put in {b} more. How many are in the box?",
            "One box holds {a} {thing} and the other {b}. How many {thing} do the boxes hold together?"),
    exam=("A shelf holds {a} {thing}. If {b} are added, what is the new number?",
          "A crate weighs {a} kg and a sack weighs {b} kg. What do they weigh together?"),
    formal=("Find the sum of {a} and {b}.", "Increase {a} by {b}."),
    bare="What is {a} + {b}?",
)  # fmt: skip
def gain(a: int, b: int) -> Solution:
    return a + b, add_in_steps(a, b), program("start + more", start=a, more=b)


def _draw_loss(rng: Random, wide: float) -> Values:
    a, b = number(rng, 30, 99, wide), number(rng, 12, 70, wide)
    return {"a": max(a, b) + 5, "b": min(a, b)}


@family(
    "arithmetic", "small", _draw_loss, comment="take away",
    story=("{name} has {a} {thing} and gives away {b}. How many {thing} are left?",
           "{name} had {a} {thing} but lost {b} of them. How many {thing} remain?"),
    retold=("From the {a} {thing} in the box {name} took {b}. How many are in the box?",
            "Of {a} {thing} in the box {b} are broken. How many are whole?"),
    exam=("A shelf holds {a} {thing}. If {b} are sold, what is the new number?",
          "A sack of {a} kg loses {b} kg of rice. What does it weigh now?"),
    formal=("Find the difference of {a} and {b}.", "Decrease {a} by {b}."),
    bare="What is {a} - {b}?",
)  # fmt: skip
def loss(a: int, b: int) -> Solution:
    return a - b, subtract_in_steps(a, b), program("start - gone", start=a, gone=b)


@family(
    "arithmetic", "small", lambda rng, wide: {"a": number(rng, 12, 99, wide), "d": rng.randint(3, 9)},
    comment="multiply",
    story=("Each bag holds {a} {thing}. {name} fills {d} bags. How many {thing} is that?",
           "{name} reads {a} pages a day for {d} days. How many pages is that?"),
    retold=("There are {a} {thing} in each row and there are {d} rows. How many {thing} are there?",
            "A box holds {a} {thing}. How many {thing} do {d} such boxes hold?"),
    exam=("If one crate weighs {a} kg, what do {d} such crates weigh?",
          "A lift carries {a} people on each trip. How many people does it carry on {d} trips?"),
    formal=("Find the product of {a} and {d}.", "Multiply {a} by {d}."),
    bare="What is {a} * {d}?",
)  # fmt: skip
def groups(a: int, d: int) -> Solution:
    return a * d, multiply_in_steps(a, d), program("each * groups", each=a, groups=d)


def _draw_share(rng: Random, wide: float) -> Values:
    d = rng.randint(3, 9)
    return {"a": d * number(rng, 12, 60, wide), "d": d}


@family(
    "arithmetic", "small", _draw_share, comment="divide",
    story=("{name} shares {a} {thing} equally among {d} friends. How many {thing} does each get?",
           "{name} packs {a} {thing} into {d} equal bags. How many {thing} are in each bag?"),
    retold=("The {a} {thing} stand in {d} equal rows. How many are in each row?",
            "There are {a} {thing} in {d} boxes, the same number in each. How many does one box hold?"),
    exam=("If {a} kg of rice fill {d} equal sacks, what does one sack weigh?",
          "A rope of {a} metres is cut into {d} equal parts. How long is each part?"),
    formal=("Find the quotient of {a} and {d}.", "Divide {a} by {d}."),
    bare="What is {a} / {d}?",
)  # fmt: skip
def share(a: int, d: int) -> Solution:
    return a // d, divide_in_steps(a, d), program("total // groups", total=a, groups=d)


def _draw_gain_loss(rng: Random, wide: float) -> Values:
    a, b = number(rng, 12, 80, wide), number(rng, 12, 80, wide)
    return {"a": a, "b": b, "c": rng.randint(5, a + b - 5)}


@family(
    "arithmetic", "small", _draw_gain_loss, comment="add and take away",
    story=("{name} has {a} {thing}, gets {b} more and then loses {c}. How many {thing} are left?",
           "{name} bakes {a} cakes, then {b} more, and sells {c}. How many cakes are left?"),
    retold=("There were {a} {thing} in the box. {name} put in {b} and took out {c}. How many are in the box?",
            "Two boxes held {a} and {b} {thing}. {name} took out {c} in all. How many are still there?"),
    exam=("A shelf holds {a} {thing}. If {b} are added and {c} are sold, what is the new number?",
          "A bus has {a} people on it. At a stop {b} get on and then {c} get off. How many are on the bus?"),
    formal=("Add {a} and {b}, then subtract {c}.", "Find the sum of {a} and {b}, decreased by {c}."),
    bare="What is {a} + {b} - {c}?",
)  # fmt: skip
def gain_loss(a: int, b: int, c: int) -> Solution:
    steps = f"{add_in_steps(a, b)}. {subtract_in_steps(a + b, c)}"
    return a + b - c, steps, program("start + more - gone", start=a, more=b, gone=c)


@family(
    "arithmetic", "small", ranges(a=(12, 70), b=(12, 70), c=(12, 70)), comment="add three numbers",
    story=("{name} has {a} red, {b} blue and {c} green {thing}. How many {thing} is that?",
           "{name} walks {a} steps, then {b} steps, then {c} steps. How many steps is that?"),
    retold=("The boxes hold {a}, {b} and {c} {thing}. How many are in the boxes?",
            "There were {a} {thing} in the box. {name} put in {b} and later {c}. How many are in the box?"),
    exam=("Three crates weigh {a}, {b} and {c} kg. What do they weigh together?",
          "A train has {a}, {b} and {c} people in its three cars. How many people are on the train?"),
    formal=("Find the sum of {a}, {b} and {c}.", "Add the three numbers {a}, {b} and {c}."),
    bare="What is {a} + {b} + {c}?",
)  # fmt: skip
def three(a: int, b: int, c: int) -> Solution:
    steps = f"{add_in_steps(a, b)}. {add_in_steps(a + b, c)}"
    return a + b + c, steps, program("first + second + third", first=a, second=b, third=c)


@family(
    "arithmetic", "large", ranges(a=(200, 999), b=(200, 999)), comment="add large numbers",
    story=("{name} counts {a} {thing} in one house and {b} in another. How many {thing} is that?",
           "{name} flies {a} km to one town and then {b} km to the next. How many km is that?"),
    retold=("One town has {a} people and the next has {b}. How many people live there?",
            "In one year {a} people came to the fair, in the next {b}. How many came in both years?"),
    exam=("A firm made {a} dollars in May and {b} dollars in June. What did it make in both?",
          "A library has {a} old books and {b} new ones. How many books does it have?"),
    formal=("Find the total of {a} and {b}.", "Determine the total that {a} and {b} make."),
    bare="Work out {a} + {b}.",
)  # fmt: skip
def big_sum(a: int, b: int) -> Solution:
    return a + b, add_in_steps(a, b), program("first + second", first=a, second=b)


def _draw_big_loss(rng: Random, wide: float) -> Values:
    b = number(rng, 110, 600, wide)
    return {"a": b + number(rng, 105, 390, wide), "b": b}


@family(
    "arithmetic", "large", _draw_big_loss, comment="difference of large numbers",
    story=("A shop had {a} {thing} and {name} sold {b} of them. How many {thing} does the shop still have?",
           "{name} has a trip of {a} km to make and drives {b} km on the first day. How many km are to go?"),
    retold=("A town had {a} people, but {b} moved away. How many people live there now?",
            "Of the {a} people at the fair {b} came by bus. How many came in another way?"),
    exam=("A firm made {a} dollars in May and spent {b} dollars. What did it keep?",
          "A library owns {a} books, of which {b} are lent. How many books are not lent?"),
    formal=("Find by how much {a} exceeds {b}.", "Determine the difference between {a} and {b}."),
    bare="Work out {a} - {b}.",
)  # fmt: skip
def big_loss(a: int, b: int) -> Solution:
    return a - b, subtract_in_steps(a, b), program("larger - smaller", larger=a, smaller=b)


def _draw_average(rng: Random, wide: float) -> Values:
    a, b, c = (number(rng, 100, 320, wide) for _ in range(3))
    return {"a": a, "b": b, "c": c + (-(a + b + c)) % 3}


@family(
    "arithmetic", "large", _draw_average, comment="mean of three",
    story=("{name} counts {a}, {b} and {c} {thing} on three days. What is the mean number a day?",
           "{name} has three bags with {a}, {b} and {c} {thing}. What is the mean number in a bag?"),
    retold=("The scores were {a}, {b} and {c}. What was the mean score?",
            "Three towns have {a}, {b} and {c} people. What is the mean number of people?"),
    exam=("Three parcels weigh {a}, {b} and {c} grams. What is the mean weight?",
          "A firm made {a}, {b} and {c} dollars in three months. What did it make in a month on average?"),
    formal=("Find the mean of {a}, {b} and {c}.", "Determine the average of the numbers {a}, {b} and {c}."),
    bare="Work out ({a} + {b} + {c}) / 3.",
)  # fmt: skip
def average(a: int, b: int, c: int) -> Solution:
    total = a + b + c
    steps = f"{add_in_steps(a, b)}. {add_in_steps(a + b, c)}. {total} / 3 = {total // 3}"
    return total // 3, steps, program("(first + second + third) / 3", first=a, second=b, third=c)


def _draw_change(rng: Random, wide: float) -> Values:
    b, a = number(rng, 12, 60, wide), number(rng, 12, 60, wide)
    return {"c": a * b + number(rng, 11, 400, wide), "b": b, "a": a}


@family(
    "arithmetic", "large", _draw_change, comment="money left over",
    story=("{name} has {c} dollars and buys {b} {thing} at {a} dollars each. How many dollars are left?",
           "{name} has {c} metres of rope and cuts off {b} pieces of {a} metres each. How many metres are left?"),
    retold=("From {c} dollars {name} pays for {b} {thing}, {a} dollars for each. How much money remains?",
            "There were {c} {thing}. {name} filled {b} boxes with {a} {thing} each. How many were not packed?"),
    exam=("A hall has {c} seats. In it {b} rows of {a} seats are taken. How many seats are free?",
          "A tank holds {c} litres. If {b} barrels of {a} litres are filled from it, how many litres remain?"),
    formal=("From {c} subtract the product of {b} and {a}.", "Decrease {c} by the product of {b} and {a}."),
    bare="What is {c} - {b} * {a}?",
)  # fmt: skip
def change(c: int, b: int, a: int) -> Solution:
    steps = f"{b} x {a} = {b * a}. {subtract_in_steps(c, b * a)}"
    return c - b * a, steps, program("money - items * price", money=c, items=b, price=a)


def _draw_missing(rng: Random, wide: float) -> Values:
    a = number(rng, 12, 80, wide)
    return {"a": a, "b": a + number(rng, 6, 60, wide)}


@family(
    "pre-algebra", "small", _draw_missing, comment="missing part",
    story=("{name} has {a} {thing} and wants to have {b}. How many more does {name} need?",
           "{name} had {a} {thing} and found some more. Now {name} has {b}. How many did {name} find?"),
    retold=("There were {a} {thing} in the box. {name} put in some and now it holds {b}. How many did {name} put in?",
            "The box has {a} {thing} in it but room for {b}. How many more fit in?"),
    exam=("What number must be added to {a} to make {b}?",
          "A crate of {a} kg and a sack weigh {b} kg together. What does the sack weigh?"),
    formal=("One part of a sum is {a} and the sum is {b}. Find the other part.",
            "Find the number by which {a} must grow to become {b}."),
    bare="Solve {a} + ? = {b}.",
)  # fmt: skip
def missing(a: int, b: int) -> Solution:
    return b - a, subtract_in_steps(b, a), program("goal - part", part=a, goal=b)


@family(
    "pre-algebra", "small", ranges(a=(12, 99), b=(11, 80)), comment="twice and more",
    story=("{name} has {a} {thing}. A friend has twice as many and {b} more. How many does the friend have?",
           "{name} doubles a pile of {a} {thing} and then adds {b}. How many {thing} are in the pile?"),
    retold=("The box held {a} {thing}. {name} doubled their number and put in {b} more. How many are in the box?",
            "One row has {a} {thing}. The next has twice as many and {b} more. How many are in the next row?"),
    exam=("If {a} is doubled and {b} is added, what is the result?",
          "A hall of {a} seats is made twice as large and then gets {b} seats more. How many seats has it now?"),
    formal=("Double {a} and add {b} to the result.", "To twice the number {a} add {b}."),
    bare="What is 2 * {a} + {b}?",
)  # fmt: skip
def doubled(a: int, b: int) -> Solution:
    steps = f"{multiply_in_steps(a, 2)}. {add_in_steps(2 * a, b)}"
    return 2 * a + b, steps, program("2 * single + more", single=a, more=b)


def _draw_share_rest(rng: Random, wide: float) -> Values:
    d, b = rng.randint(3, 7), number(rng, 11, 80, wide)
    return {"a": b + d * number(rng, 4, 36, wide), "b": b, "d": d}


@family(
    "arithmetic", "small", _draw_share_rest, comment="take away and divide",
    story=("{name} has {a} {thing}, loses {b} and shares the rest equally among {d} friends. How many does each get?",
           "{name} bakes {a} cakes, keeps {b} and packs the rest into {d} equal boxes. How many are in each box?"),
    retold=("From {a} {thing} {name} took {b}. The others stand in {d} equal rows. How many are in each row?",
            "Of {a} {thing} in a box {b} were broken. The others went into {d} equal bags. How many are in each bag?"),
    exam=("From {a} kg of rice {b} kg are sold. The rest fills {d} equal sacks. What does one sack weigh?",
          "A rope of {a} metres loses {b} metres and is then cut into {d} equal parts. How long is each part?"),
    formal=("From {a} subtract {b}, then divide by {d}.",
            "Find the difference of {a} and {b}, divided by {d}."),
    bare="What is ({a} - {b}) / {d}?",
)  # fmt: skip
def share_rest(a: int, b: int, d: int) -> Solution:
    steps = f"{subtract_in_steps(a, b)}. {divide_in_steps(a - b, d)}"
    return (a - b) // d, steps, program("(total - gone) // groups", total=a, gone=b, groups=d)


def _draw_packs(rng: Random, wide: float) -> Values:
    return {"a": number(rng, 12, 45, wide), "d": rng.randint(3, 7), "b": number(rng, 11, 50, wide)}


@family(
    "arithmetic", "small", _draw_packs, comment="packs and single ones",
    story=("A pack holds {a} {thing}. {name} has {d} packs and {b} single {thing}. How many {thing} is that?",
           "{name} reads {a} pages a day for {d} days and then {b} pages more. How many pages is that?"),
    retold=("There are {a} {thing} in each row. There are {d} rows and {b} loose {thing}. How many {thing} are there?",
            "A box holds {a} {thing}. {name} fills {d} boxes and has {b} {thing} over. How many {thing} is that?"),
    exam=("One crate weighs {a} kg. What do {d} such crates and a sack of {b} kg weigh together?",
          "A lift carries {a} people a trip. After {d} full trips {b} more people go up. How many went up in all?"),
    formal=("Multiply {a} by {d} and add {b}.", "Find the product of {a} and {d}, increased by {b}."),
    bare="What is {a} * {d} + {b}?",
)  # fmt: skip
def packs(a: int, d: int, b: int) -> Solution:
    steps = f"{multiply_in_steps(a, d)}. {add_in_steps(a * d, b)}"
    return a * d + b, steps, program("each * packs + single", each=a, packs=d, single=b)


def _draw_halves(rng: Random, wide: float) -> Values:
    a, b = number(rng, 12, 99, wide), number(rng, 12, 99, wide)
    return {"a": a, "b": b + (a + b) % 2}


@family(
    "arithmetic", "small", _draw_halves, comment="half of a sum",
    story=("{name} has {a} red and {b} blue {thing} and gives away half of them all. How many does {name} give away?",
           "{name} picks {a} {thing} on one day and {b} on the next and sells half of all. How many are sold?"),
    retold=("Two boxes hold {a} and {b} {thing}. {name} takes half of all these. How many does {name} take?",
            "There were {a} {thing} in the box. {name} put in {b} and then took out half of all. How many were taken?"),
    exam=("Sacks of {a} and {b} kg of rice are refilled into two equal sacks. What does one of these weigh?",
          "Classes of {a} and {b} pupils are put together and split into two equal teams. How large is a team?"),
    formal=("Find half of the sum of {a} and {b}.", "Add {a} and {b}, then halve the result."),
    bare="What is ({a} + {b}) / 2?",
)  # fmt: skip
def halves(a: int, b: int) -> Solution:
    steps = f"{add_in_steps(a, b)}. {divide_in_steps(a + b, 2)}"
    return (a + b) // 2, steps, program("(first + second) // 2", first=a, second=b)
