package nprand

import "math/bits"

// mt19937 is the Mersenne Twister (Matsumoto & Nishimura 1998).
type mt19937 struct {
	state [624]uint32
	at    int
}

// seed is init_genrand, what numpy.random.RandomState(seed) uses.
func (m *mt19937) seed(s uint32) {
	m.state[0] = s
	for i := 1; i < len(m.state); i++ {
		s = 1812433253*(s^s>>30) + uint32(i)
		m.state[i] = s
	}
	m.at = len(m.state)
}

// seedByArray is init_by_array, what Python's random.seed uses with the words of an integer, lowest first.
func (m *mt19937) seedByArray(key []uint32) {
	m.seed(19650218)
	n := len(m.state)
	i, j := 1, 0
	for range max(n, len(key)) {
		m.state[i] = (m.state[i] ^ (m.state[i-1]^m.state[i-1]>>30)*1664525) + key[j] + uint32(j)
		i, j = i+1, j+1
		if i >= n {
			m.state[0] = m.state[n-1]
			i = 1
		}
		if j >= len(key) {
			j = 0
		}
	}
	for range n - 1 {
		m.state[i] = (m.state[i] ^ (m.state[i-1]^m.state[i-1]>>30)*1566083941) - uint32(i)
		i++
		if i >= n {
			m.state[0] = m.state[n-1]
			i = 1
		}
	}
	m.state[0] = 0x80000000
}

func (m *mt19937) uint32() uint32 {
	if m.at >= len(m.state) {
		m.refill()
	}
	y := m.state[m.at]
	m.at++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

func (m *mt19937) refill() {
	n := len(m.state)
	for i := range n {
		y := m.state[i]&0x80000000 | m.state[(i+1)%n]&0x7fffffff
		v := m.state[(i+397)%n] ^ y>>1
		if y&1 != 0 {
			v ^= 0x9908b0df
		}
		m.state[i] = v
	}
	m.at = 0
}

// Python is Python's random module after random.seed(seed).
type Python struct{ mt mt19937 }

// NewPython seeds as random.seed(seed) does.
func NewPython(seed uint64) *Python {
	p := &Python{}
	key := []uint32{uint32(seed)}
	if hi := uint32(seed >> 32); hi != 0 {
		key = append(key, hi)
	}
	p.mt.seedByArray(key)
	return p
}

// Shuffle is random.shuffle of n things: swap is called with the places to exchange.
func (p *Python) Shuffle(n int, swap func(i, j int)) {
	for i := n - 1; i > 0; i-- {
		k := bits.Len(uint(i + 1))
		j := p.mt.uint32() >> (32 - k)
		for j > uint32(i) {
			j = p.mt.uint32() >> (32 - k)
		}
		swap(i, int(j))
	}
}

// PandasSample is the row numbers of DataFrame.sample(n, random_state=seed) over a frame of population rows.
func PandasSample(population, n int, seed uint32) []int {
	var mt mt19937
	mt.seed(seed)
	return permutation(population, mt.uint32)[:n]
}
