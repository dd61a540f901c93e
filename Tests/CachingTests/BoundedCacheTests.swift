import Testing

@testable import Caching

struct BoundedCacheTests {
    @Test func theOldestGoesFirst() {
        var cache = BoundedCache<Int, String>(limit: 3 * (100 + BoundedCache<Int, String>.overhead))
        for number in 1...3 { cache.insert("\(number)", for: number, cost: 100) }
        #expect(cache.value(for: 1) == "1")
        cache.insert("4", for: 4, cost: 100)
        #expect(cache.value(for: 2) == nil)
        #expect(cache.value(for: 1) == "1")
        #expect(cache.count == 3)
        cache.insert("big", for: 5, cost: 10_000)
        #expect(cache.value(for: 5) == nil)
        #expect(cache.count == 3)
        cache.remove(1)
        cache.remove(1)
        #expect(cache.count == 2)
        cache.removeAll()
        #expect(cache.total == 0)
        #expect(cache.value(for: 3) == nil)
    }

    @Test func randomUseKeepsTheBooks() {
        var cache = BoundedCache<Int, Int>(limit: 20_000)
        var costs: [Int: Int] = [:]
        for step in 0..<50_000 {
            let key = Int.random(in: 0..<300)
            switch step % 3 {
            case 0:
                let cost = Int.random(in: 1...500)
                cache.insert(step, for: key, cost: cost)
                costs[key] = cost + BoundedCache<Int, Int>.overhead
            case 1: _ = cache.value(for: key)
            default: if step % 7 == 0 { cache.remove(key) }
            }
            #expect(cache.total <= cache.limit)
        }
        let left = (0..<300).filter { cache.value(for: $0) != nil }
        #expect(left.count == cache.count)
        #expect(left.reduce(0) { $0 + (costs[$1] ?? 0) } == cache.total)
        #expect(cache.total > cache.limit / 2)
    }
}
