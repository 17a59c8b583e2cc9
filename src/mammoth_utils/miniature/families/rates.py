"""Rates: prices, wages, speeds, percentages and units."""

from __future__ import annotations

from random import Random

from mammoth_utils.miniature.arithmetic import add_in_steps, divide_in_steps, multiply_in_steps, subtract_in_steps
from mammoth_utils.miniature.families.definition import Solution, Values, family, number, program, ranges


@family(
    "rates", "large", ranges(a=(13, 99), b=(13, 99), c=(20, 400)), comment="price, count and fee",
    story=("{name} asks {a} dollars for each of {b} {thing} and gets a tip of {c} dollars. How much is that?",
           "A ticket costs {a} dollars. {name} buys {b} tickets and pays a fee of {c} dollars. "
           "How much does {name} pay?"),
    retold=("Each box holds {a} {thing}. There are {b} boxes and {c} {thing} beside them. How many {thing} are there?",
            "A cart brings {a} {thing} a day for {b} days to a place that had {c}. How many are there now?"),
    exam=("A plumber charges {a} dollars an hour, works {b} hours and asks {c} dollars for the trip. What is the bill?",
          "A hall has {a} seats in each of its {b} rows and {c} seats above. How many seats does it have?"),
    formal=("Find the product of {a} and {b}, plus {c}.", "Multiply {a} by {b} and increase the result by {c}."),
    bare="Work out {a} * {b} + {c}.",
)  # fmt: skip
def revenue(a: int, b: int, c: int) -> Solution:
    steps = f"{a} x {b} = {a * b}. {add_in_steps(a * b, c)}"
    return a * b + c, steps, program("price * count + fee", price=a, count=b, fee=c)


@family(
    "rates", "large",
    lambda rng, wide: {"a": number(rng, 25, 99, wide), "b": number(rng, 11, 48, wide), "c": rng.randint(20, 250)},
    comment="still to be done",
    story=("{name} drives {a} km an hour for {b} hours in all and has done {c} km. How many km are left?",
           "{name} reads {a} pages a day and needs {b} days for a book. After {c} pages, how many are left to read?"),
    retold=("A pump moves {a} litres an hour. After {b} hours {c} litres are taken out. How many litres are there?",
            "A cart brings {a} {thing} a day for {b} days. Then {c} {thing} are sold. How many {thing} are left?"),
    exam=("A train at {a} km an hour needs {b} hours for its route. It has done {c} km. How many km are left?",
          "A machine makes {a} bolts an hour for {b} hours, and {c} of them are faulty. How many are good?"),
    formal=("Find the product of {a} and {b}, minus {c}.", "Multiply {a} by {b} and decrease the result by {c}."),
    bare="Work out {a} * {b} - {c}.",
)  # fmt: skip
def distance(a: int, b: int, c: int) -> Solution:
    steps = f"{a} x {b} = {a * b}. {subtract_in_steps(a * b, c)}"
    return a * b - c, steps, program("speed * hours - done", speed=a, hours=b, done=c)


@family(
    "rates", "large", lambda rng, wide: {"p": 5 * rng.randint(3, 19), "n": 20 * number(rng, 6, 60, wide)},
    comment="percent of a number",
    story=("{name} sells {p} percent of {n} {thing}. How many {thing} does {name} sell?",
           "{name} has read {p} percent of a book of {n} pages. How many pages has {name} read?"),
    retold=("In the box {p} percent of the {n} {thing} are red. How many are red?",
            "On Monday {p} percent of the {n} {thing} were sold. How many were sold?"),
    exam=("What is {p} percent of a sum of {n} dollars?",
          "A firm spends {p} percent of its {n} dollars on food. How many dollars is that?"),
    formal=("Compute {p} percent of {n}.", "Find the part that is {p} percent of {n}."),
    bare="What is {p}% of {n}?",
)  # fmt: skip
def percent(p: int, n: int) -> Solution:
    steps = f"{p} x {n} = {p * n}. {p * n} / 100 = {p * n // 100}"
    return p * n // 100, steps, program("whole * rate / 100", rate=p, whole=n)


@family(
    "rates", "large", ranges(b=(13, 60), a=(13, 60), d=(13, 60), c=(13, 60)), comment="two prices and counts",
    story=("{name} sells {b} {thing} at {a} dollars each and {d} cakes at {c} dollars each. How much is that?",
           "{name} works {b} hours at {a} dollars an hour and {d} hours at {c} dollars an hour. How much is that?"),
    retold=("There are {b} boxes with {a} {thing} in each box and {d} bags with {c} in each bag. "
            "How many {thing} are there?",
            "There are {b} long rows with {a} {thing} each and {d} short rows with {c} each. How many are there?"),
    exam=("A van carries {b} crates of {a} kg each and {d} sacks of {c} kg each. What does the load weigh?",
          "A firm buys {b} chairs at {a} dollars each and {d} lamps at {c} dollars each. What does it pay?"),
    formal="Add the product of {b} and {a} to the product of {d} and {c}.",
    bare="What is {b} * {a} + {d} * {c}?",
)  # fmt: skip
def two_kinds(b: int, a: int, d: int, c: int) -> Solution:
    steps = f"{b} x {a} = {b * a}. {d} x {c} = {d * c}. {add_in_steps(b * a, d * c)}"
    expression = "count * price + other_count * other_price"
    return b * a + d * c, steps, program(expression, count=b, price=a, other_count=d, other_price=c)


@family(
    "rates", "large",
    lambda rng, wide: {"a": number(rng, 12, 60, wide), "b": rng.randint(3, 9), "c": number(rng, 12, 60, wide)},
    comment="pay for all days",
    story=("{name} earns {a} dollars an hour and works {b} hours a day for {c} days. How much does {name} earn?",
           "{name} walks {a} steps a minute for {b} minutes a day. How many steps is that in {c} days?"),
    retold=("A bag holds {a} {thing}, a box {b} bags and a cart {c} boxes. How many {thing} are on a full cart?",
            "Each row has {a} {thing}, each room {b} rows and each house {c} rooms. How many {thing} has a house?"),
    exam=("A worker gets {a} dollars an hour for {b} hours a day. What is the pay for {c} days?",
          "A pump moves {a} litres a minute and runs {b} minutes a day. How many litres does it move in {c} days?"),
    formal=("Find the product of the three numbers {a}, {b} and {c}.", "Multiply {a} by {b} and the result by {c}."),
    bare="What is {a} * {b} * {c}?",
)  # fmt: skip
def wages(a: int, b: int, c: int) -> Solution:
    steps = f"{a} x {b} = {a * b}. {a * b} x {c} = {a * b * c}"
    return a * b * c, steps, program("wage * hours * days", wage=a, hours=b, days=c)


@family(
    "rates", "large", lambda rng, wide: {"n": 50 * number(rng, 5, 40, wide), "p": 2 * rng.randint(3, 30)},
    comment="price after discount",
    story=("{name} buys a bike priced at {n} dollars with {p} percent off. How many dollars does {name} pay?",
           "{name} had {n} dollars to pay but gets a discount of {p} percent. How many dollars does {name} pay?"),
    retold=("The price of a boat was {n} dollars. Then it fell by {p} percent. What is the price now?",
            "The town had {n} people. Then their number fell by {p} percent. How many people live there now?"),
    exam=("A price of {n} dollars is lowered by {p} percent. What is the new price?",
          "A machine worth {n} dollars loses {p} percent of its value. What is it worth then?"),
    formal=("Decrease {n} by {p} percent.", "Find the result when {n} is reduced by {p} percent."),
    bare="What is {n} * (1 - {p}%)?",
)  # fmt: skip
def discount(n: int, p: int) -> Solution:
    off = n * p // 100
    steps = f"{n} x {p} = {n * p}. {n * p} / 100 = {off}. {subtract_in_steps(n, off)}"
    return n - off, steps, program("price - price * discount / 100", price=n, discount=p)


@family(
    "rates", "large",
    lambda rng, wide: {"n": 50 * number(rng, 11, 60, wide), "p": 2 * rng.randint(1, 6), "y": rng.randint(3, 15)},
    comment="simple interest",
    story=("{name} lends {n} dollars at {p} percent simple interest a year. "
           "How much interest does {name} get for {y} years?",
           "{name} keeps {n} dollars in a bank at {p} percent simple interest a year. "
           "How much interest is that in {y} years?"),
    retold=("{name} has {n} dollars in a bank. It pays {p} percent of this sum each year. "
            "How much does it pay in {y} years?",
            "A farm with {n} trees plants {p} percent of this number each year. How many does it plant in {y} years?"),
    exam=("A loan of {n} dollars costs {p} percent simple interest a year. What is the interest for {y} years?",
          "A bond of {n} dollars pays simple interest of {p} percent a year. What interest does it pay in {y} years?"),
    formal=("Find the simple interest on {n} at {p} percent a year for {y} years.",
            "A principal of {n} bears {p} percent simple interest a year. Find the interest after {y} years."),
    bare="What is {n} * {p}% * {y}?",
)  # fmt: skip
def interest(n: int, p: int, y: int) -> Solution:
    yearly = n * p // 100
    steps = f"{n} x {p} = {n * p}. {n * p} / 100 = {yearly}. {yearly} x {y} = {yearly * y}"
    return yearly * y, steps, program("principal * rate / 100 * years", principal=n, rate=p, years=y)


@family(
    "rates", "small", lambda rng, wide: {"d": rng.randint(2, 9), "b": number(rng, 4, 80, wide)},
    comment="hours to minutes",
    story=("{name} works for {d} hours and then for {b} minutes. How many minutes is that?",
           "{name} sleeps {d} hours at night and {b} minutes at noon. How many minutes does {name} sleep?"),
    retold=("The trip took {d} hours by train and {b} minutes by bus. How many minutes did it take?",
            "The cake stood for {d} hours and baked for {b} minutes. How many minutes did it take?"),
    exam=("A film lasts {d} hours and the talk after it {b} minutes. How many minutes is that in all?",
          "A machine runs {d} hours and {b} minutes. For how many minutes does it run?"),
    formal=("Express {d} hours and {b} minutes in minutes.", "Find {d} hours plus {b} minutes, in minutes."),
)  # fmt: skip
def minutes(d: int, b: int) -> Solution:
    steps = f"{multiply_in_steps(60, d)}. {add_in_steps(60 * d, b)}"
    return 60 * d + b, steps, program("60 * hours + rest", hours=d, rest=b)


def _draw_unit_price(rng: Random, wide: float) -> Values:
    d, e = rng.sample(range(2, 10), 2)
    return {"a": d * number(rng, 11, 37, wide), "d": d, "e": e}


@family(
    "rates", "small", _draw_unit_price, comment="price at unit rate",
    story=("{name} pays {a} dollars for {d} {thing}, each at the same price. How many dollars do {e} {thing} cost?",
           "{name} walks {a} metres in {d} minutes. How many metres does {name} walk in {e} minutes at this pace?"),
    retold=("There are {a} {thing} in {d} equal boxes. How many {thing} are in {e} such boxes?",
            "The {a} {thing} stand in {d} equal rows. How many {thing} stand in {e} of these rows?"),
    exam=("If {a} dollars buy {d} equal crates, how many dollars buy {e} of them?",
          "A machine makes {a} bolts in {d} hours. How many bolts does it make in {e} hours at the same rate?"),
    formal=("Divide {a} by {d} and multiply by {e}.",
            "A quantity of {a} has {d} equal parts. Find the size of {e} such parts."),
    bare="What is {a} / {d} * {e}?",
)  # fmt: skip
def unit_price(a: int, d: int, e: int) -> Solution:
    steps = f"{divide_in_steps(a, d)}. {multiply_in_steps(a // d, e)}"
    return a // d * e, steps, program("cost // items * wanted", cost=a, items=d, wanted=e)
