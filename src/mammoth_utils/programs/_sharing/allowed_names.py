"""The names that a program may use and still share its interpreter with others.

The lists hold names that were reviewed, and what is in none of them gives a program a process of its own. A listed name
can write nothing that outlives the program: it takes no text as code, registers nothing, changes no setting and opens
no file; it is no module, no class that a call can subclass, and no container that two programs would share.
"""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


BUILTINS = _names("""
    abs all any ascii bin bool bytes callable chr complex dict divmod enumerate filter float format frozenset hex
    int isinstance iter len list map max min next oct ord pow print range repr reversed round set slice sorted str
    sum tuple zip None True False Ellipsis NotImplemented ArithmeticError AssertionError AttributeError EOFError
    Exception FloatingPointError ImportError IndexError KeyError LookupError ModuleNotFoundError NameError
    NotImplementedError OverflowError RecursionError RuntimeError StopIteration TypeError UnboundLocalError
    UnicodeError ValueError ZeroDivisionError
""")

# Exceptions that a handler may catch: not RecursionError and MemoryError, which come elsewhere in another process, nor
# a class above them.
CATCHABLE = _names("""
    ArithmeticError AssertionError AttributeError EOFError FloatingPointError ImportError IndexError KeyError
    LookupError ModuleNotFoundError NameError NotImplementedError OverflowError StopIteration TypeError
    UnboundLocalError UnicodeError ValueError ZeroDivisionError
""")

_SYMPY = """
    Abs Add And Catalan Complement ConditionSet Contains Derivative Dummy E EmptySet Eq Equality EulerGamma
    FiniteSet Float FiniteField Ge GreaterThan Gt GoldenRatio I Identity Integer Integers Integral Intersection
    Interval Le LessThan Limit Lt Matrix ImmutableMatrix Max Min Mod Mul N Naturals Naturals0 Ne Nor Not Number Or
    Piecewise Point Point2D Point3D Line Line2D Line3D Segment Segment2D Ray Circle Ellipse Polygon RegularPolygon
    Triangle Plane Poly Pow Product ProductSet Range Rational Rationals Reals Rel S Set StrictGreaterThan
    StrictLessThan Subs Sum Symbol SymmetricDifference Tuple Unequality Union UniversalSet Wild Xor ZeroMatrix
    Complexes acos acosh acot acoth acsc adjoint airyai airybi apart arg asec asin asinh atan atan2 atanh bell
    bernoulli besseli besselj besselk bessely beta binomial cancel cbrt ceiling centroid chebyshevt chebyshevu
    collect combsimp compose conjugate content continued_fraction continued_fraction_convergents
    continued_fraction_iterator continued_fraction_periodic continued_fraction_reduce convolution cos cosh cot coth
    count_roots csc csch cse decompose deg degree denom det diag diff digamma discriminant div divisor_count
    divisor_sigma divisors dsolve eye erf erfc euler euler_equations exp expand expand_complex expand_func
    expand_log expand_mul expand_power_base expand_power_exp expand_trig factor factor_list factor_terms factorial
    factorial2 factorint factorrat ff fibonacci flatten floor fraction frac gamma gammasimp gcd gcd_list gcd_terms
    gcdex genocchi groebner ground_roots half_gcdex harmonic hermite horner hyper igcd ilcm im integer_log
    integer_nthroot integrate interpolate intersection intervals invert is_nthpow_residue is_primitive_root
    is_quad_residue isprime jacobi jacobi_symbol laguerre LC LM LT lcm lcm_list legendre legendre_symbol limit
    linear_eq_to_matrix linsolve ln log logcombine loggamma lowergamma lucas mobius mod_inverse monic multiplicity
    n_order nan nextprime nfloat nonlinsolve npartitions nroots nth_power_roots_poly nthroot_mod numer ones oo
    partition perfect_power pi pdiv periodicity poly polygamma posify powdenest powsimp prem prevprime prime
    primefactors primepi primerange primitive primitive_root primorial prod product quadratic_congruence
    quadratic_residues quo rad radsimp randprime ratsimp ratsimpmodprime rcollect re real_root real_roots reduced
    refine_root rem reduce_inequalities resultant rf root rootof roots RootOf CRootOf rot_axis1 rot_axis2 rot_axis3
    rsolve satisfiable sec sech separatevars sequence series sign signsimp simplify sin sinc singularities sinh
    solve solve_linear solve_linear_system solve_poly_inequality solve_poly_system solve_rational_inequalities
    solve_triangulated solve_univariate_inequality solve_undetermined_coeffs solveset sqf sqf_list sqf_part sqrt
    sqrt_mod sqrtdenest stationary_points sturm subresultants subsets summation symbols symmetrize tan tanh
    terms_gcd together topological_sort total_degree totient trigamma trigsimp unbranched_argument uppergamma
    variations wronskian zeros zeta zoo true false latex sympify is_decreasing is_increasing is_monotonic
    is_strictly_decreasing is_strictly_increasing diophantine maximum minimum mathieuc multinomial_coefficients
    binomial_coefficients
"""

_NUMPY = """
    abs absolute add all allclose amax amin any append arange arccos arccosh arcsin arcsinh arctan arctan2 arctanh
    argmax argmin argsort argwhere around array array_equal asarray average bincount bool_ cbrt ceil clip
    column_stack concatenate conj convolve copy copysign corrcoef cos cosh count_nonzero cov cross cumprod cumsum
    deg2rad degrees delete diag diff digitize divide divmod dot e equal exp exp2 expm1 eye fabs flip
    float32 float64 floor floor_divide fmod full full_like gcd greater greater_equal histogram hstack hypot identity
    imag inf inner insert int32 int64 interp intersect1d isclose isfinite isin isinf isnan issubdtype kron lcm less
    less_equal linspace log log10 log1p log2 logical_and logical_not logical_or logical_xor logspace matmul max
    maximum mean median meshgrid min minimum mod multiply nan nanmax nanmean nanmin nansum ndim negative nonzero
    not_equal ones ones_like outer percentile pi polyfit polyval power prod ptp quantile rad2deg radians ravel real
    reciprocal remainder repeat reshape rint roll roots rot90 round searchsorted setdiff1d shape sign sin sinh size
    sort split sqrt square squeeze stack std subtract sum swapaxes take tan tanh tile trace transpose trapezoid triu
    tril true_divide trunc union1d unique unravel_index vander var vdot vstack where zeros zeros_like newaxis int_
    complex128 lexsort cumulative_sum
"""

# Of numpy's functions, the position of the dtype among the arguments; a method has one argument less. Some dtypes have
# padding, in which the content of earlier memory can be read, so that only those without are allowed.
TYPE_AT = {
    "arange": 3, "array": 1, "asarray": 1, "astype": 1, "cumprod": 2, "cumsum": 2, "eye": 3, "full": 2, "full_like": 2,
    "identity": 1, "linspace": 5, "logspace": 5, "mean": 2, "nanmean": 2, "nansum": 2, "ones": 1, "ones_like": 1,
    "prod": 2, "std": 2, "sum": 2, "trace": 4, "var": 2, "zeros": 1, "zeros_like": 1,
}  # fmt: skip
UNPADDED = _names("bool complex float int object str bool_ complex128 float32 float64 int32 int64 int_ uint8")
UNPADDED_BUILTINS = _names("bool complex float int str")
# Names by which an array could be read as bytes, padding included.
NOT_BESIDE_NUMPY = _names("bytes decode encode fromhex from_bytes to_bytes")

# Module, or "module.submodule": its names. A listed submodule may be named too, but not used as a value.
MODULES: dict[str, frozenset[str]] = {
    "math": _names("""
        acos acosh asin asinh atan atan2 atanh cbrt ceil comb copysign cos cosh degrees dist e erf erfc exp exp2
        expm1 fabs factorial floor fmod frexp fsum gamma gcd hypot inf isclose isfinite isinf isnan isqrt lcm ldexp
        lgamma log log10 log1p log2 modf nan nextafter perm pi pow prod radians remainder sin sinh sqrt tan tanh tau
        trunc ulp
    """),
    "cmath": _names("""
        acos acosh asin asinh atan atanh cos cosh e exp inf infj isclose isfinite isinf isnan log log10 nan nanj
        phase pi polar rect sin sinh sqrt tan tanh tau
    """),
    "fractions": _names("Fraction"),
    "decimal": _names("""
        Decimal ROUND_CEILING ROUND_DOWN ROUND_FLOOR ROUND_HALF_DOWN ROUND_HALF_EVEN ROUND_HALF_UP ROUND_UP
    """),
    "datetime": _names("MAXYEAR MINYEAR date datetime time timedelta timezone"),
    "calendar": _names("isleap leapdays monthrange weekday"),
    "statistics": _names("""
        fmean geometric_mean harmonic_mean mean median median_grouped median_high median_low mode multimode pstdev
        pvariance quantiles stdev variance
    """),
    "itertools": _names("""
        accumulate chain combinations combinations_with_replacement compress count cycle dropwhile filterfalse
        groupby islice pairwise permutations product repeat starmap takewhile tee zip_longest
    """),
    "functools": _names("cache cmp_to_key lru_cache partial reduce"),
    "collections": _names("Counter OrderedDict defaultdict deque"),
    "random": _names("choice choices gauss normalvariate randint random randrange sample seed shuffle uniform"),
    "string": _names("ascii_letters ascii_lowercase ascii_uppercase digits hexdigits octdigits punctuation"),
    "heapq": _names("heapify heappop heappush heappushpop heapreplace merge nlargest nsmallest"),
    "bisect": _names("bisect bisect_left bisect_right insort insort_left insort_right"),
    "operator": _names("""
        abs add and_ eq floordiv ge gt invert itemgetter le lt mod mul ne neg not_ or_ pow sub truediv xor
    """),
    "re": _names("""
        DOTALL I IGNORECASE M MULTILINE S X compile escape findall finditer fullmatch match search split sub subn
    """),
    "copy": _names("copy deepcopy"),
    "json": _names("dumps loads"),
    "typing": _names("Any Callable Dict Iterable Iterator List Optional Sequence Set Tuple Union"),
    "sympy": _names(_SYMPY),
    "numpy": _names(_NUMPY),
    "numpy.linalg": _names("""
        cond det eig eigh eigvals eigvalsh inv lstsq matrix_power matrix_rank norm pinv qr solve svd
    """),
    "numpy.random": _names("choice normal permutation rand randint randn random seed shuffle uniform"),
}

# Methods of any object: they read it, make a new one from it, or change a container that the program made itself.
METHODS = _names("""
    add append appendleft clear copy count difference difference_update discard extend extendleft index insert
    intersection intersection_update isdisjoint issubset issuperset items keys pop popitem popleft remove reverse
    rotate setdefault sort symmetric_difference union update values get fromkeys elements most_common subtract total
    move_to_end capitalize casefold center decode encode endswith expandtabs find isalnum isalpha isascii isdecimal
    isdigit isidentifier islower isnumeric isprintable isspace istitle isupper join ljust lower lstrip maketrans
    partition removeprefix removesuffix replace rfind rindex rjust rpartition rsplit rstrip split splitlines
    startswith strip swapcase title translate upper zfill as_integer_ratio bit_count bit_length conjugate
    denominator from_bytes fromhex hex imag is_integer numerator real to_bytes limit_denominator from_decimal
    from_float quantize to_integral_value normalize sqrt ln log10 compare adjusted is_finite is_nan is_zero
    is_signed exp copy_abs date day days hour isocalendar isoformat isoweekday microsecond minute month second
    seconds strftime strptime time timedelta timetuple today toordinal fromordinal fromisoformat total_seconds
    weekday year combine group groups groupdict span start end args assumptions0 atoms base coeff coeffs all_coeffs
    all_roots collect contains could_extract_minus_sign count_ops degree diff doit equals evalf expand expr
    extract_multiplicatively factor factor_list free_symbols gens getn has has_free inf integrate intersect
    is_subset leadterm lhs limit limits match measure n name nroots nsimplify nth nseries p powsimp q radsimp
    ratsimp refine reversed rewrite rhs round series simplify sort_key subs sup symbol together trigsimp xreplace
    args_cnc LC LT TC complement boundary closure interior left right left_open right_open equation slope distance
    midpoint area perimeter circumference radius centroid circumcenter incenter orthocenter angles sides vertices
    is_similar length points x y z removeO real_roots ground_roots lcm gcd div quo rem root roots content primitive
    monic terms total_degree eval discriminant resultant sqf_list cancel apart rational_interpolate canonical
    negated magnitude T H D C adjugate charpoly col cols cross det diagonalize dot echelon_form eigenvals eigenvects
    hstack inv is_square jordan_form LUsolve minor norm nullspace columnspace rank row rows rref shape solve tolist
    trace transpose vstack vec cofactor cofactor_matrix row_join col_join row_insert col_insert row_del col_del
    zeros ones eye diag all any argmax argmin argsort astype clip cumprod cumsum diagonal dtype fill flatten item
    itemset max mean min ndim Reals Integers Naturals Naturals0 Rationals Complexes EmptySet UniversalSet Half One
    Zero NegativeOne Infinity NegativeInfinity ComplexInfinity NaN Pi Exp1 ImaginaryUnit nonzero prod ptp ravel
    repeat reshape searchsorted size squeeze std sum swapaxes take var
""")
METHOD_PREFIXES = ("is_", "as_")  # of sympy: predicates of an expression, and its parts in another form

# Audit events (PEP 578) that a shared program may raise; it has no reason to raise any other.
HARMLESS_EVENTS = frozenset({"builtins.id", "sys._getframe", "object.__getattr__"})
