package main

import "testing"

func TestClassify(t *testing.T) {
	const mit = "Permission is hereby granted, free of charge, to any\nperson obtaining a copy of this software"
	for name, test := range map[string]struct{ text, want string }{
		"Apache":          {"   Apache License\n   Version 2.0, January 2004", "Apache-2.0"},
		"Apache's notice": {"Licensed under the Apache License, Version 2.0 (the License)", "Apache-2.0"},
		"MIT":             {mit, "MIT"},
		"BSD":             {"Redistribution and use in source and binary forms, with or\n * without modification, are permitted", "BSD"},
		"two":             {mit + "\nApache License Version 2.0", "Apache-2.0 and MIT"},
		"GPL":             {"GNU GENERAL PUBLIC LICENSE Version 3", ""},
		"MIT and MPL":     {mit + "\nMozilla Public License Version 2.0", ""},
		"none":            {"All rights reserved.", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := classify(test.text); got != test.want || (err == nil) != (test.want != "") {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestLicenceOfNothing(t *testing.T) {
	if _, err := licenceOf(t.TempDir()); err == nil {
		t.Error("a directory without a licence passes")
	}
}
