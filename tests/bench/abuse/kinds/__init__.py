"""Every kind of abuse by its name, in the order of a whole run."""

from tests.bench.abuse.kinds.archives import ARCHIVES
from tests.bench.abuse.kinds.clocks import CLOCKS
from tests.bench.abuse.kinds.connections import CONNECTIONS
from tests.bench.abuse.kinds.greedy import GREEDY
from tests.bench.abuse.kinds.owners import OWNERS
from tests.bench.abuse.kinds.poison import POISON
from tests.bench.abuse.kinds.records import RECORDS
from tests.bench.abuse.kinds.requests import REQUESTS
from tests.bench.abuse.kinds.sets import SETS
from tests.bench.abuse.kinds.texts import TEXTS
from tests.bench.abuse.kinds.uploads import UPLOADS
from tests.bench.abuse.kinds.volume import VOLUME

_IN_ORDER = (TEXTS, REQUESTS, UPLOADS, SETS, ARCHIVES, RECORDS, CONNECTIONS, GREEDY, OWNERS, POISON, VOLUME, CLOCKS)
KINDS = {kind.name: kind for kind in _IN_ORDER}
