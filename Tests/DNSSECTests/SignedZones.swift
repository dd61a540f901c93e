// swift-format-ignore-file: signatures are long
/// Zones that ldns-signzone 1.8.3 signed, valid from 2026 to 2040: `ldns-signzone -i 20260101000000 -e 20400101000000`,
/// with `-n -t 0` for NSEC3 and `-p` for opt-out; one key each, from `ldns-keygen -k`.
enum SignedZones {
    /// Ed25519 and NSEC, with a wildcard, an empty non-terminal, an alias, a DNAME, an insecure and a secure delegation.
    static let parent = #"""
        signed.test. 3600 SOA ns.signed.test. nobody.signed.test. 1 3600 600 86400 300
        signed.test. 3600 RRSIG SOA 15 2 3600 20400101000000 20260101000000 21252 signed.test. teWQNsTizg0eXXvvhyfCBYyF+7UVAJtErnuNvsIU27amEj9Eyyg4r5EI8Mtl67zjtJeeKwei5r8BIom84oLRCQ==
        signed.test. 3600 NS ns.signed.test.
        signed.test. 3600 RRSIG NS 15 2 3600 20400101000000 20260101000000 21252 signed.test. zk4D4/NlgkHMZIkg8+I63rl4soEvqnqPNULLyk9aXMvth+hoNz5SsNAEAq9yuj0nt/AiIgQIqDdaijG2Ed5xBA==
        signed.test. 3600 DNSKEY 257 3 15 gZBGY8ydRP5HSgd4E2MrtpohMkQMiMcmGQyjUZVh9bQ=
        signed.test. 3600 RRSIG DNSKEY 15 2 3600 20400101000000 20260101000000 21252 signed.test. U6Mrdz0P43OjsWkmUsPE/BbplS1st88TNdDhYjOAji1k1wT5jLkHNXmN/lJEnjea9R4u1/1KlLeVhCnTaO3kCA==
        signed.test. 300 NSEC a.signed.test. NS SOA RRSIG NSEC DNSKEY
        signed.test. 300 RRSIG NSEC 15 2 300 20400101000000 20260101000000 21252 signed.test. e5jRR0nKc0TIokX/xL48iP1a0FXfmT4y28E0dCtBCfLAFJSHmQmS42RWh34lk+nVO8fciRI8R+gswIQcRu6uAA==
        a.signed.test. 3600 A 192.0.2.2
        a.signed.test. 3600 RRSIG A 15 3 3600 20400101000000 20260101000000 21252 signed.test. hgnc0uyKUquLTDaopiody10HrUpWn9NNBXS+zVnmL7JEmZJ9rVVA8su4JD3xrAQI/a1C1kw2Z2IsPTsoNyLlAA==
        a.signed.test. 300 NSEC alias.signed.test. A RRSIG NSEC
        a.signed.test. 300 RRSIG NSEC 15 3 300 20400101000000 20260101000000 21252 signed.test. 4JAtbHqLT1rCYE2xMiCF4rvzG+JMUZS1n113TN0to50uFxUN6QMj1m3hXPKsEUw7beh8YSkpj15OOmfdjhTBCw==
        alias.signed.test. 3600 CNAME a.signed.test.
        alias.signed.test. 3600 RRSIG CNAME 15 3 3600 20400101000000 20260101000000 21252 signed.test. QxnTPlsSXHuCaKNaHaHMw3Yq6S6HOjm14sWhi0NlgLphU4yqEsX7IKizOUxYc1yXPVmlhZkuFWZnlvICS8AbAg==
        alias.signed.test. 300 NSEC b.c.signed.test. CNAME RRSIG NSEC
        alias.signed.test. 300 RRSIG NSEC 15 3 300 20400101000000 20260101000000 21252 signed.test. RvXpKe4/Bhh2eQo5AseS3JxhknPHRooUEHTvKl1gIc+seAd2tpBEoEkhqqGDL4wHhhGpMoJrXmZAY5x7bkoKAA==
        b.c.signed.test. 3600 A 192.0.2.3
        b.c.signed.test. 3600 RRSIG A 15 4 3600 20400101000000 20260101000000 21252 signed.test. ZeGxVpbzkc+ZIjVn//1hGr4JvGknrsyg/hTmyp9eQG7qUsp32+60u/zxlGa+mYfe0TiVMAOkGryslhdpWSC7Bw==
        b.c.signed.test. 300 NSEC ins.signed.test. A RRSIG NSEC
        b.c.signed.test. 300 RRSIG NSEC 15 4 300 20400101000000 20260101000000 21252 signed.test. CrrxOmK/bXsDEKImdmQDbvPum0MaGER28A9uXUb9wKvow/1rUVOVzJJMo898e6TBls4rU1rEQwzvAb4xWjd8Ag==
        ins.signed.test. 3600 NS ns.ins.signed.test.
        ins.signed.test. 300 NSEC ns.signed.test. NS RRSIG NSEC
        ins.signed.test. 300 RRSIG NSEC 15 3 300 20400101000000 20260101000000 21252 signed.test. YuuvuFKoP7MmYju911cbLuLbarp0oLwMGb4K1AMvAQBEvl/JmOyw+gRzTNW3N9xBj4RnCsCjSnPUbXLkqbBpDw==
        ns.ins.signed.test. 3600 A 192.0.2.4
        ns.signed.test. 3600 A 192.0.2.1
        ns.signed.test. 3600 RRSIG A 15 3 3600 20400101000000 20260101000000 21252 signed.test. Sm2ZRigtEHuz+vZ9edR8/hn92GupNtywb29+wAH4bkXi1MfsQbEjaxo9bbQrFzYM3LGRpJLvQUuAtJbsNyOOAw==
        ns.signed.test. 300 NSEC red.signed.test. A RRSIG NSEC
        ns.signed.test. 300 RRSIG NSEC 15 3 300 20400101000000 20260101000000 21252 signed.test. QdINwO3agAu7oPohHTmFKy8JT9RpoAuzI57gUXeESOU5w6QVGyC0Rp3rDPoAeAdLcz1kMT3fn8Er5+smm87/Dg==
        red.signed.test. 3600 DNAME signed.test.
        red.signed.test. 3600 RRSIG DNAME 15 3 3600 20400101000000 20260101000000 21252 signed.test. aA4//rcHsX+R825/UWnVB8ITYfcJ3XU9x0Fk/oseI74vbH/Na3ym1N9NujrgH1QzwrP/2eWa5dF197c0+dfQDA==
        red.signed.test. 300 NSEC sub.signed.test. DNAME RRSIG NSEC
        red.signed.test. 300 RRSIG NSEC 15 3 300 20400101000000 20260101000000 21252 signed.test. PRroxGcetb4qA/ZTmmWsGND+ll0PGTbV+l8Dx7h0EbAGr/EfZt9icNrkObYYm8WMv15bGbZH8k18Fooe2HEeBw==
        sub.signed.test. 3600 NS ns.signed.test.
        sub.signed.test. 3600 DS 27432 13 2 f26e9803f24b29386c7eedee875494013fb3aa3c69a5e219e8066077b1983d77
        sub.signed.test. 3600 RRSIG DS 15 3 3600 20400101000000 20260101000000 21252 signed.test. METgdc1X1efOgtQDByJgtTIQmeI+n9lRa8iR9BzBqMDmAY8ne5/XbAg5h9z0efsxRmmvhust709CP0g19YkiDw==
        sub.signed.test. 300 NSEC *.w.signed.test. NS DS RRSIG NSEC
        sub.signed.test. 300 RRSIG NSEC 15 3 300 20400101000000 20260101000000 21252 signed.test. ipZSqBiLMj8/EZe+e2GsXoCbaFHTmLZkgWmn6JdXsMuifm/hnNP4sAKLuIlhq2ZXXC2Nt9pceyZ3LHTbitUMBg==
        *.w.signed.test. 3600 TXT "wild"
        *.w.signed.test. 3600 RRSIG TXT 15 3 3600 20400101000000 20260101000000 21252 signed.test. Fh5QzBtyOinvC3CvYMSnElWjvjkUOcRvr3+wAyrFapkQQSL4VTE2NX7iY3ZDNylx78fdLWjElQDDRfhwHJqVCg==
        *.w.signed.test. 300 NSEC signed.test. TXT RRSIG NSEC
        *.w.signed.test. 300 RRSIG NSEC 15 3 300 20400101000000 20260101000000 21252 signed.test. Vx10vIf4izg1JIhjB7WQ2Ssc1mCUmAyLehLMJF3NjGdz6iLuxoTtrC4mASJvQTlzl0C/9gOGENDfyjCJv32GAw==
        """#

    /// ECDSA P-256 and NSEC3 without iterations.
    static let child = #"""
        sub.signed.test. 3600 SOA ns.signed.test. nobody.signed.test. 1 3600 600 86400 300
        sub.signed.test. 3600 RRSIG SOA 13 3 3600 20400101000000 20260101000000 27432 sub.signed.test. 7cAEJCz7g3lmDE85hHdhAPV3lkY3gsmsBi6wP2aTS0JT2lF6CNS0iFpFrS05ndvA8hfh/Af/nYilEob+KXWOkg==
        sub.signed.test. 3600 NS ns.signed.test.
        sub.signed.test. 3600 RRSIG NS 13 3 3600 20400101000000 20260101000000 27432 sub.signed.test. jJr9BYDwRNGxAMrCkGkTjT9zS+MMnXZ7c/spj5VrrCQ9xPbAHi3NXGBxkro6ZY7rCVtUM0i373L50bNPbkuVkQ==
        sub.signed.test. 3600 DNSKEY 257 3 13 iotcOsKxcDVKv0FeTGbARD/a7E8OOKoX+u+TjT0bVeVeqsTEA8H6mE6Umyp2qb0qmfVLZGMgstAbZJXiZV9dXw==
        sub.signed.test. 3600 RRSIG DNSKEY 13 3 3600 20400101000000 20260101000000 27432 sub.signed.test. D+W/R+AmIGvH5AMzG4agHgaoMHR8FXFFNMKxJRwoyCx/3zgLirP3TSl8V2WkbHx+4Hnb0qavka7TOxuhqMrtRg==
        sub.signed.test. 3600 NSEC3PARAM 1 0 0 -
        sub.signed.test. 3600 RRSIG NSEC3PARAM 13 3 3600 20400101000000 20260101000000 27432 sub.signed.test. TfAIJU2fLKVNH/19jDF1K6lo1/b14n/ZkuGlMC9w//Apw2ktx0AGw3WD4Cbm/QKrF7VbRlQMnHrvpsaorHwAOg==
        12sikpc21cpenossgqfmj5pae6mr1lsc.sub.signed.test. 300 NSEC3 1 0 0 - 79h70ji9nbkhemomk186qolgfhqhjlgn NS SOA RRSIG DNSKEY NSEC3PARAM
        12sikpc21cpenossgqfmj5pae6mr1lsc.sub.signed.test. 300 RRSIG NSEC3 13 4 300 20400101000000 20260101000000 27432 sub.signed.test. 6HvH3l2qJRXO4rpxuBSHnc74Gz3d7AHFwx8waWMro06aZL87GvNYriXg/JgeuG0JRLcvh9y2TcSKbbAsPX9z4g==
        a.sub.signed.test. 3600 A 192.0.2.5
        a.sub.signed.test. 3600 RRSIG A 13 4 3600 20400101000000 20260101000000 27432 sub.signed.test. Ckz1rbMA/oN8VMgyBS0NAhcydCfNjuabJJHVjtlSP4DJXom4E17PZfJRLaxFSp2SOWWh64apx9Rd+et8N/Psug==
        e8kuv8b2gj4te737p2svfci6eilg0gb3.sub.signed.test. 300 NSEC3 1 0 0 - ef0n5r2oufhd93h5qup29nl5de954a38 A RRSIG
        e8kuv8b2gj4te737p2svfci6eilg0gb3.sub.signed.test. 300 RRSIG NSEC3 13 4 300 20400101000000 20260101000000 27432 sub.signed.test. vlxpDdVcRt7UzfmB6CvwypIEfDh47uFnqU6tb8Wmu+ZuI4cHM+CPNIr21+F/n9Rm0l3vwF/dGQhuSDFHoqLOLQ==
        m58bqjsnkrjhepftcoc20mlhkjcb0sp8.sub.signed.test. 300 NSEC3 1 0 0 - 12sikpc21cpenossgqfmj5pae6mr1lsc
        m58bqjsnkrjhepftcoc20mlhkjcb0sp8.sub.signed.test. 300 RRSIG NSEC3 13 4 300 20400101000000 20260101000000 27432 sub.signed.test. CVfp/78YoGLVVuaAYVGqEvOCgrW5eCvLF6SKKqvnI7XrU2E5K/F59OzrTybFEBp3yypyF0/d1Bw0t9ql4txeaA==
        b.c.sub.signed.test. 3600 A 192.0.2.6
        b.c.sub.signed.test. 3600 RRSIG A 13 5 3600 20400101000000 20260101000000 27432 sub.signed.test. L6B5sX4KcOZl9pwuK60JtXQodXA+KOXv+9Yh2biF4BvYJAtKg8Ld0f0J4J0eN9+eJapgsIcSVkWSbnIyUY5Pqg==
        j9tplvoc46ju1jkifhe4g09iat0lsmik.sub.signed.test. 300 NSEC3 1 0 0 - m3t4kq29k93l87c1lkbrllsim2d51jkr A RRSIG
        j9tplvoc46ju1jkifhe4g09iat0lsmik.sub.signed.test. 300 RRSIG NSEC3 13 4 300 20400101000000 20260101000000 27432 sub.signed.test. hgapnB/QqUlxaQ4BEXzyvZhtbmfGC9yHAjc1KeCTudAW5tfU41U7fifNBc7jOLHp8ntUFX4gz197ZV98DsFeHg==
        ins.sub.signed.test. 3600 NS ns.elsewhere.test.
        m3t4kq29k93l87c1lkbrllsim2d51jkr.sub.signed.test. 300 NSEC3 1 0 0 - m58bqjsnkrjhepftcoc20mlhkjcb0sp8 NS
        m3t4kq29k93l87c1lkbrllsim2d51jkr.sub.signed.test. 300 RRSIG NSEC3 13 4 300 20400101000000 20260101000000 27432 sub.signed.test. Hl8wzkY/WqvV+qQ+mvLnwK6eAJvIJ0ghBj0lztW3zo02h6/68S4Ex8uluA0O9wa9Cq1S9yvYWAvLh+XopJoabw==
        79h70ji9nbkhemomk186qolgfhqhjlgn.sub.signed.test. 300 NSEC3 1 0 0 - e8kuv8b2gj4te737p2svfci6eilg0gb3
        79h70ji9nbkhemomk186qolgfhqhjlgn.sub.signed.test. 300 RRSIG NSEC3 13 4 300 20400101000000 20260101000000 27432 sub.signed.test. c5N05QM6FqZO97GU5FabHzgHvE+DdbCmuXYdfyuU0rZ5cCBU8P3gK74ioJrNWU7QBTZhqpu0EpvkCK1X2IDnzw==
        *.w.sub.signed.test. 3600 TXT "wild"
        *.w.sub.signed.test. 3600 RRSIG TXT 13 4 3600 20400101000000 20260101000000 27432 sub.signed.test. Byk1wQwq8y64s/cuuVs3yxIy7OOKu674uaKTqW9k2Qlgs+9qrF9rIAKkTNrNg0Bu/+KP9Q/If99xpePtibeEjg==
        ef0n5r2oufhd93h5qup29nl5de954a38.sub.signed.test. 300 NSEC3 1 0 0 - j9tplvoc46ju1jkifhe4g09iat0lsmik TXT RRSIG
        ef0n5r2oufhd93h5qup29nl5de954a38.sub.signed.test. 300 RRSIG NSEC3 13 4 300 20400101000000 20260101000000 27432 sub.signed.test. vXX6d2f1TU+fsXiFGhd+49VQx0g4RAwn6y3i8ehAovxkqm/SPpZ/s549KWWI8+pYXZ7eNWVsM70ApP2Zw7H+NA==
        """#

    /// The same with opt-out.
    static let childOptedOut = #"""
        sub.signed.test. 3600 SOA ns.signed.test. nobody.signed.test. 1 3600 600 86400 300
        sub.signed.test. 3600 RRSIG SOA 13 3 3600 20400101000000 20260101000000 27432 sub.signed.test. ua+c5f9VwvZ6tFL4/csG8AAVmW5sAPy1T2NI/MSuHfJLQAQPxc1PVMdM9931Ozl3Pg9IQIgSD4mqEIuXGx8lIg==
        sub.signed.test. 3600 NS ns.signed.test.
        sub.signed.test. 3600 RRSIG NS 13 3 3600 20400101000000 20260101000000 27432 sub.signed.test. 796LH4sVD6rqXU6MOGxfATq5TvnfbxpYyQNuK9ea+wIRF2cG4eBY83ZD9FxEoQ/yRQQqoG3VxxcKX1Z4NRaqXg==
        sub.signed.test. 3600 DNSKEY 257 3 13 iotcOsKxcDVKv0FeTGbARD/a7E8OOKoX+u+TjT0bVeVeqsTEA8H6mE6Umyp2qb0qmfVLZGMgstAbZJXiZV9dXw==
        sub.signed.test. 3600 RRSIG DNSKEY 13 3 3600 20400101000000 20260101000000 27432 sub.signed.test. Gqh9r6ZIR3wK6i/n/PYA0sRrkhOLa6tOrk3sYkNEYKhhKXbhDcqlglXIVAVosOqKA+yQlyjUMrnBxHbx0hcJ5w==
        sub.signed.test. 3600 NSEC3PARAM 1 0 0 -
        sub.signed.test. 3600 RRSIG NSEC3PARAM 13 3 3600 20400101000000 20260101000000 27432 sub.signed.test. iwKNguRH0g0VUgA3f0PE39g6+LpxGr99nSS7keOILWiohYgm2hoC2wk/wHLXnPAHt2wiBU1hQ5XgVX0JQG5rnw==
        12sikpc21cpenossgqfmj5pae6mr1lsc.sub.signed.test. 300 NSEC3 1 1 0 - 79h70ji9nbkhemomk186qolgfhqhjlgn NS SOA RRSIG DNSKEY NSEC3PARAM
        12sikpc21cpenossgqfmj5pae6mr1lsc.sub.signed.test. 300 RRSIG NSEC3 13 4 300 20400101000000 20260101000000 27432 sub.signed.test. 1YTuxR9ssx+G7FKoK/N5ZUEjePCLan+PTZMTAlaRmbZ6l1efI7XSn3xB1lbQ7oZfiH03zp6eXi9T4n0O9f5XrQ==
        a.sub.signed.test. 3600 A 192.0.2.5
        a.sub.signed.test. 3600 RRSIG A 13 4 3600 20400101000000 20260101000000 27432 sub.signed.test. pI6rnZtDED9LC/IUCkWycnPD8c/WAvNh1TjAhrVfJbcjSFtbgshd+67TCnTtfawjPH7pawZrpYmsDxVobBHkXQ==
        e8kuv8b2gj4te737p2svfci6eilg0gb3.sub.signed.test. 300 NSEC3 1 1 0 - ef0n5r2oufhd93h5qup29nl5de954a38 A RRSIG
        e8kuv8b2gj4te737p2svfci6eilg0gb3.sub.signed.test. 300 RRSIG NSEC3 13 4 300 20400101000000 20260101000000 27432 sub.signed.test. ma7KOWKVyoUP7dKLqcawyLnEri9bKwDuI6sNVC/c8AVXxSqEmF7x5r7aWck8rXWCmxtUIlAKQXSkLHjfCrZ/Yw==
        m58bqjsnkrjhepftcoc20mlhkjcb0sp8.sub.signed.test. 300 NSEC3 1 1 0 - 12sikpc21cpenossgqfmj5pae6mr1lsc
        m58bqjsnkrjhepftcoc20mlhkjcb0sp8.sub.signed.test. 300 RRSIG NSEC3 13 4 300 20400101000000 20260101000000 27432 sub.signed.test. X43xW5FxIZMkJR3DFBULVCJ84ySprm9lYlfEstKp7lmQj4t1sXNEpaOynp9gfBEk5j2KX1msB8hJE7bKWIosxg==
        b.c.sub.signed.test. 3600 A 192.0.2.6
        b.c.sub.signed.test. 3600 RRSIG A 13 5 3600 20400101000000 20260101000000 27432 sub.signed.test. LFhMiYS79l0ymgiZM9oK2KWqhClb9vlW76Ma1R46C/ufHBLEHWC5j3bTDjeGqjwXLZq7huiVdyZ1L9jrqzk7iw==
        j9tplvoc46ju1jkifhe4g09iat0lsmik.sub.signed.test. 300 NSEC3 1 1 0 - m3t4kq29k93l87c1lkbrllsim2d51jkr A RRSIG
        j9tplvoc46ju1jkifhe4g09iat0lsmik.sub.signed.test. 300 RRSIG NSEC3 13 4 300 20400101000000 20260101000000 27432 sub.signed.test. 2wUXaBF6/r0NAH7/blWgY7HAUV/Gx2NBAap3Gv3VVJ/o/crKlVcBSgPXB5iCB5vrXwBbQFfgGUhrZN7WwyKIzw==
        ins.sub.signed.test. 3600 NS ns.elsewhere.test.
        m3t4kq29k93l87c1lkbrllsim2d51jkr.sub.signed.test. 300 NSEC3 1 1 0 - m58bqjsnkrjhepftcoc20mlhkjcb0sp8 NS
        m3t4kq29k93l87c1lkbrllsim2d51jkr.sub.signed.test. 300 RRSIG NSEC3 13 4 300 20400101000000 20260101000000 27432 sub.signed.test. KlJSDtPgz8ym3VDWNn5m35PeclSEkmVvz6O2eGRoq8zOKQv3ypb/nDqF3SzY6oYk/y6Ga+2DOh0Fim+Xkv9Ssg==
        79h70ji9nbkhemomk186qolgfhqhjlgn.sub.signed.test. 300 NSEC3 1 1 0 - e8kuv8b2gj4te737p2svfci6eilg0gb3
        79h70ji9nbkhemomk186qolgfhqhjlgn.sub.signed.test. 300 RRSIG NSEC3 13 4 300 20400101000000 20260101000000 27432 sub.signed.test. y3IyAajMr+yLfC08sHDIsDJEaHBj4W97W3HST3JKSu36ZboydLbvgTCVdnUI2T+6mQkf0q3UTwwNVGclagn/ig==
        *.w.sub.signed.test. 3600 TXT "wild"
        *.w.sub.signed.test. 3600 RRSIG TXT 13 4 3600 20400101000000 20260101000000 27432 sub.signed.test. HOGHkwoZTX6ETFUl8QCKnrTflP4gLwuAGtgjbr6PZ1PfHiVLs+uFhXCBFF8XS/zT+07clu4+7/wy49e6vtnE6Q==
        ef0n5r2oufhd93h5qup29nl5de954a38.sub.signed.test. 300 NSEC3 1 1 0 - j9tplvoc46ju1jkifhe4g09iat0lsmik TXT RRSIG
        ef0n5r2oufhd93h5qup29nl5de954a38.sub.signed.test. 300 RRSIG NSEC3 13 4 300 20400101000000 20260101000000 27432 sub.signed.test. A+wo5yRt20IZhBRaHxqXNIarUYSa78SPg/C3MzU/+FeAUwdf7DMUWcKKsqTnb85SozCohDN3d1F3TcIH1Tdgaw==
        """#

    /// An A and a DNSKEY set for each algorithm.
    static let algorithms = [
        """
        RSASHA1.test. 60 A 192.0.2.9
        rsasha1.test. 60 RRSIG A 5 2 60 20400101000000 20260101000000 45958 rsasha1.test. 2hNdT9bLWYjiQHEN50Dla9ZADK2HIcdemzyrNrZ9YdEweDUYyyQNX75uM2xemDFRt4pxcqFUEeX77PveBn8o18HRFSQjL4SdHsZl3wpVos3hf+SPjCtPT5CQHKBenQsaln54+2c7Pu4lmNunMtMBE7MoGZrmYMe74SCwHGYAHZE=
        RSASHA1.test. 60 DNSKEY 257 3 5 AwEAAfy++UNsn2cCKB+cMAFhsahb41uzLUw/0z0l2p4WfapeOYy+m03T49hTQG00IoV7Nfpbd5pU+ryGwl2GMHPwGBi0Jsb0+pJkz//skneMr0mkm43mgZnPK2/48pSgHfm08UXVRjAOIj0/MCUc3LaVtcfH2FSWzRP4K0Gjsop/r7zD
        rsasha1.test. 60 RRSIG DNSKEY 5 2 60 20400101000000 20260101000000 45958 rsasha1.test. kUehJzq8GaESIITwNw8f0nLoypfCWiZL6UgLpzNZ64E6749+/KH5MlH1WBfrTPyWdFgu92Lfy7Q2BKkHvIezTmkUpPTIahqCdHV0v1LDvzDf9ATXwaEPM7oGJa+6BwVseev+j6YAqx22LpwD8sQbONIA4kKhc2Rb/hiYaS96tW8=
        RSASHA1.test. 5 NSEC RSASHA1.test. A NS SOA RRSIG NSEC DNSKEY
        """,
        """
        RSASHA256.test. 60 A 192.0.2.9
        rsasha256.test. 60 RRSIG A 8 2 60 20400101000000 20260101000000 22630 rsasha256.test. KrNSPkJcc+FlHwCUj/Oo4HGePwnssWPuSL0+uREH8H/PPYCIxL2FKKYlPa4af6oaQD8fM6CzzzEegIOOBMP0n74f/JxNDn8rPZ6yiEMI61jtxC3ZJmtGXIOjatByYskR5zw+nVva7ZFiCwOHmP6zPZ7I/VMd7yKBawjmMZ+nLZA=
        RSASHA256.test. 60 DNSKEY 257 3 8 AwEAAZ7jym2PFp+9Oq2qdkqELLg2UY3TM6vDNyD/MVO7j79Oe01SxfWJdIOfytqnDAanzKHf/zff3g1uWTw6jh1eqHD2X00v885U/1LkM5SUIb/eNRHgloprZOou1yexEX0NqWTsk6NBcGj5fHjlYDFqX/28UY+jVLYIAGA7XZsljIJt
        rsasha256.test. 60 RRSIG DNSKEY 8 2 60 20400101000000 20260101000000 22630 rsasha256.test. QIS4g4jSB4+OpQO2iWpYUDM0ChWZ/WWHhkp2xZwUl9i/LmTiHUWyV+NG8MAYIq1zUYky3iW1Nc5VSHRDxzdwtPkn0twidwCUL/NxSVVnJZ9D6+BA0KNZz6d2sVMUBaUz4cAy7A5NJEKzJqs5ygtN+gUQG5/j27F8xRNe97oYjls=
        RSASHA256.test. 5 NSEC RSASHA256.test. A NS SOA RRSIG NSEC DNSKEY
        """,
        """
        RSASHA512.test. 60 A 192.0.2.9
        rsasha512.test. 60 RRSIG A 10 2 60 20400101000000 20260101000000 54901 rsasha512.test. ACL0OrDJ/QyKuO+xDTp/KHI7mcfBvsrczJnodxxXWiwQWaD1G6ibt7HKrgHbiYroO+0yFhYPAnk86rSrJAdUADw7WZaym2KtnNBOutRkr78o2H3bII+T+uEEFIiNj3QpUQ3WPPFFLan2V0DW08xbHJU+7myMl1SbvfqIWaGannA=
        RSASHA512.test. 60 DNSKEY 257 3 10 AwEAAbxxygVhogjFRU73yRuoOMEC3QuKvCq3yibW8h0Z8/WrvyoY9KccZWyApfN8AOMfO3VtGLtP3crymgiM8xaM6G03BmgOOJ4tou7cemR6tgB7NOjtDQ/0eGuw+/0XSj8GgO3B5HpIVDuRkISs3HqO7M+mFmxrBTIS59Bd5sG4gDIz
        rsasha512.test. 60 RRSIG DNSKEY 10 2 60 20400101000000 20260101000000 54901 rsasha512.test. RdMftlBLhMfhkZwwoI+JZhz9w205zwnYD5hbW1Q1QYG+aZ+zrNq2TEvBYAHqFsG40WBYOGnKYf83OpwQYVFwDy4kLAiR5g8YYaeJ/q+g3jj/b6HMs46ejfq4fdXW5QS8U84awsEOD/uKxABiAI4SWXWKSJw4h1lq21KD+i+VXvM=
        RSASHA512.test. 5 NSEC RSASHA512.test. A NS SOA RRSIG NSEC DNSKEY
        """,
        """
        ECDSAP256SHA256.test. 60 A 192.0.2.9
        ecdsap256sha256.test. 60 RRSIG A 13 2 60 20400101000000 20260101000000 45436 ecdsap256sha256.test. ETW55vgLmOMooIMZ5UAyVX/yqrLQXg9iREP6QwwLLL5C8CWSLOeSO91o6eJm/A2I/G1vSSzpZ4eNuSp6UCvNYA==
        ECDSAP256SHA256.test. 60 DNSKEY 257 3 13 H2arV1aPRqBPy5ahOBx9Pyb8gefrtrG9KFsrz1rHQ18oZCWtdkNmCwyPsQdzfx0MmHKtU+bVuZ/FtINvMLKYeg==
        ecdsap256sha256.test. 60 RRSIG DNSKEY 13 2 60 20400101000000 20260101000000 45436 ecdsap256sha256.test. D4ZNub6vFCnGmeF2QTlrT/cLW7jUPFyRdWd+Y7BlweJ/RgqrcMvSqkWWPmidJuuIFLgx6kGluYbyvhuEf5DdZg==
        ECDSAP256SHA256.test. 5 NSEC ECDSAP256SHA256.test. A NS SOA RRSIG NSEC DNSKEY
        """,
        """
        ECDSAP384SHA384.test. 60 A 192.0.2.9
        ecdsap384sha384.test. 60 RRSIG A 14 2 60 20400101000000 20260101000000 23107 ecdsap384sha384.test. GCDmH1+WWS7Je82zL/E3S9mxlork+xZhH586awp037r157o9/kTz7LgBbSt+RBOELNbNpplVkPhQIi9VzhHqJzzs+o0+no4OX8R72PsneXRKXuBZlRX4bagEvAwTJqjx
        ECDSAP384SHA384.test. 60 DNSKEY 257 3 14 YRhIZGrsAYRd9pNk3u7fEdN5/lQ4E4pOsehKb1dSG/MSbMdU2vyxB+MUmotDM1PNAc2rrcGH66X79dqCY1p5JsmJpf/VYJ3kT9EbYO6G1zoBIIG+CmA30Nw7KqKkGIFN
        ecdsap384sha384.test. 60 RRSIG DNSKEY 14 2 60 20400101000000 20260101000000 23107 ecdsap384sha384.test. UStmK5t1g8ADXZTX/zoX1GPz93JU1AoMIiE2cTtyewxxO9CVkbRxt/R1859W0cBxqJHCfhLRxxKIQqVYVZY2NhJCPI62QWosL8BZcrpFRSYCbjHX0/SWsBRrSScD3hsU
        ECDSAP384SHA384.test. 5 NSEC ECDSAP384SHA384.test. A NS SOA RRSIG NSEC DNSKEY
        """,
        """
        ED25519.test. 60 A 192.0.2.9
        ed25519.test. 60 RRSIG A 15 2 60 20400101000000 20260101000000 14193 ed25519.test. 9o0icRLrfZ9kbGXMNO6308kp/5wyMXelu2SO1zKbM1wf2hetsYyhxKp29SfbBoQEneGlkS7WYQ8x7E6BV+2OCw==
        ED25519.test. 60 DNSKEY 257 3 15 rb7Px0um7uXSWCoIo2BhhjeHbb00/ozUKheUvYTezzs=
        ed25519.test. 60 RRSIG DNSKEY 15 2 60 20400101000000 20260101000000 14193 ed25519.test. z51H+P6wCVNIvyvysbwhpGZ2JN05NslkTLjtsUvEy+Flfgzdml/6EpNvWlaNPebgPeqsJzMIaLKDOjRtwOyaBw==
        ED25519.test. 5 NSEC ED25519.test. A NS SOA RRSIG NSEC DNSKEY
        """,
        """
        ED448.test. 60 A 192.0.2.9
        ed448.test. 60 RRSIG A 16 2 60 20400101000000 20260101000000 8698 ed448.test. Lv3mR6UOtgWucEsMCE5+vmC7gyNZdI+6qS/pR3CWT/K1gHfBL4A7ONgv5h+bfm2w+z4kp+R9RdAAOZoWn2fpEPTWcJ+31JG8JsaOZuWh4rJGUcod2bTlMdFhmqVEZZRVaJgUctPbpSdK6UWZHbuvqiMA
        ED448.test. 60 DNSKEY 257 3 16 YnhB/BVXaHdF/87JfDn0wYfOq9Y14XdaWyluxvmriTl32ettTATfdv4aCJC964O4OFifXy4Qa1EA
        ed448.test. 60 RRSIG DNSKEY 16 2 60 20400101000000 20260101000000 8698 ed448.test. YWKJeQs/tW/FBmKoJSqaMYhX4OHubXTKsJh9zEoIC0wGwcvdnKUQNnDSuEIFp1eCfVu6mDeJli0AxSqRh5WGqQGMIUdLj7ijPV/AnqGoiyp2F6XqOS4oJxdofWAFDH50QyGCR8oz1LZ638SXTj/gZRMA
        ED448.test. 5 NSEC ED448.test. A NS SOA RRSIG NSEC DNSKEY
        """,
    ]
}
